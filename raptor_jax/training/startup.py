"""Everything between the command and the first chunk: the output directory, the memory check, the first state."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import jax
import numpy as np
from rich.console import Console

from raptor_jax.population import best, memory, sharding
from raptor_jax.population.memory import MemoryTable
from raptor_jax.runs import checkpoints, directory
from raptor_jax.training import progress, rounds
from raptor_jax.training.output import Output
from raptor_jax.training.state import Job, RunState, Setup
from raptor_jax.utils.files import writing
from raptor_jax.utils.trees import take


def require_directory(job: Job, console: Console, overwrite: bool, resume: bool) -> bool:
    """Returns whether there is a run to resume; writes nothing.

    Raises:
        UserError: the directory does not fit the request, or the settings or drones differ from those of the run.
    """
    directory.require(job.output_dir, overwrite, resume)
    if resume and not directory.has_begun(job.output_dir):
        console.print(
            f"the run in {job.output_dir} was stopped before it began to train: starts from the beginning",
            soft_wrap=True,
        )
        resume = False
    # No process may write there before all processes have checked the directory.
    sharding.wait_for_all("every process has seen the output directory")
    if resume:
        directory.require_same_run(job.output_dir, job.config, job.files)
    return resume


@contextmanager
def own_directory(job: Job, console: Console, resume: bool) -> Iterator[None]:
    """Locks the output directory for this run, and writes the settings and the drones there."""
    with directory.own(job.output_dir, console, keep=resume), writing(job.output_dir, directory.FIX):
        if resume:
            directory.write_config(job.output_dir, job.config)
        else:
            directory.write_inputs(job.output_dir, job.config, job.files)
        yield


class Planned(NamedTuple):
    """The planned memory of each device, in bytes."""

    table: MemoryTable
    """The memory that it will need, estimated from shapes."""
    available: int


def require_memory(setup: Setup) -> Planned:
    """Returns the memory that each device will need, and the memory that it has.

    Raises:
        UserError: there is too little memory, or too little disk space for the checkpoints.
    """
    config, mesh = setup.config, setup.mesh
    share = -(-len(setup.job.files) // mesh.size)
    drones = take(setup.drones, slice(share))
    shapes = rounds.shapes(config, drones, setup.warm_start)
    kept = jax.eval_shape(best.create, shapes.teachers)
    block = rounds.block_size(setup.everyone, len(setup.job.files))
    table = memory.plan(config, drones, shapes, kept, block)
    available = memory.available_bytes(jax.local_devices()[0])
    memory.require_fit(table, config, share, block, available)
    directory.require_space(setup.job.output_dir, mesh.size * checkpoints.estimated_bytes(kept, table.learner))
    return Planned(table, available)


def require_memory_of_programs(setup: Setup, state: RunState, planned: Planned) -> None:
    """Prints the memory that each device will need, including that of the compiled programs. Raises UserError."""
    table, available = planned
    table = table._replace(temporaries=max(table.temporaries, state.round.programs.temporary_bytes))
    share = state.round.teacher_ids.size // setup.mesh.size
    device = f"each of {setup.mesh.size} {setup.mesh.devices.flat[0].device_kind} device(s)"
    progress.print_memory(table, available, share, device, setup.console)
    memory.require_fit(table, setup.config, share, state.round.block, available)


def first_state(setup: Setup, output: Output) -> RunState:
    """Returns the state before the first step."""
    rows = np.arange(len(setup.job.files))
    with output.timed("compiling"):
        now = rounds.prepare(setup.everyone, 0, rows)
    # A killed run may have written a part of its first checkpoint.
    output.checkpoints.delete_after(-1)
    population = now.create()
    kept = jax.device_get(best.create(now.of_real_teachers(population.teachers)))
    return RunState(now, population, kept, began_with=kept.mean_return)
