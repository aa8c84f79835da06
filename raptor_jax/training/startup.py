"""The beginning of a training: everything before the first chunk."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import jax
import numpy as np
from rich.console import Console

from raptor_jax.drones.files import stack_for_training
from raptor_jax.population import best, memory, sharding
from raptor_jax.population.memory import MemoryTable
from raptor_jax.runs import checkpoints, directory, warm_start
from raptor_jax.training import failures, progress, rounds
from raptor_jax.training.output import Output
from raptor_jax.training.resume import newest_point, resume_from
from raptor_jax.training.state import Job, RunState, Setup
from raptor_jax.utils.files import writing
from raptor_jax.utils.trees import take


def begin(
    job: Job, console: Console, overwrite: bool, resume: bool, at_the_end: ExitStack
) -> tuple[Setup, Output, RunState]:
    """Checks the job, locks the output directory, and returns the state before the first chunk, or a saved state.

    Nothing is written before the job is checked; only the checkpoints, and the memory of the compiled programs, are
    checked later.

    Args:
        job: see `loop.train`.
        console: where the progress is printed.
        overwrite: see `loop.train`.
        resume: see `loop.train`.
        at_the_end: closes the output and unlocks the directory.

    Raises:
        UserError: see `loop.train`.
    """
    rounds.most_steps(job.config)
    resume = require_directory(job, console, overwrite, resume)
    setup = _set_up(job, console)
    planned = _require_memory(setup)
    if sharding.is_main_process():
        at_the_end.enter_context(_own_directory(job, console, resume))
    sharding.wait_for_all("the output directory is there")
    started = time.perf_counter()
    with failures.reported(job):
        # Before anything is opened for writing, so that a run that cannot be resumed is not changed.
        point = newest_point(setup) if resume else None
    output = Output(setup)
    at_the_end.callback(output.close)
    with output.failures_reported():
        state = resume_from(setup, output, point) if point else _first_state(setup, output)
        seconds = time.perf_counter() - started
        console.print(f"compiled in {seconds:.1f} s (cached for the next run with the same shapes)")
        _require_memory_of_programs(setup, state, planned)
        output.open_tensorboard(state.step if resume else None)
        output.results.set_progress(state.step, state.teacher_updates)
        output.write_results()
    return setup, output, state


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


def _set_up(job: Job, console: Console) -> Setup:
    """Returns the constant part of the state. Raises UserError if a file or a task is unusable."""
    mesh = sharding.mesh()
    return Setup(
        job=job,
        mesh=mesh,
        drones=stack_for_training(job.files, job.config.environment),
        warm_start=warm_start.load(job.config),
        keep_best=sharding.replicate(mesh, best.keep),
        console=console,
    )


class _Planned(NamedTuple):
    """The planned memory of each device, in bytes."""

    table: MemoryTable
    """The memory that it will need, estimated from shapes."""
    available: int


def _require_memory(setup: Setup) -> _Planned:
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
    return _Planned(table, available)


@contextmanager
def _own_directory(job: Job, console: Console, resume: bool) -> Iterator[None]:
    """Locks the output directory for this run, and writes the settings and the drones there."""
    with directory.own(job.output_dir, console, keep=resume), writing(job.output_dir, directory.FIX):
        if resume:
            directory.write_config(job.output_dir, job.config)
        else:
            directory.write_inputs(job.output_dir, job.config, job.files)
        yield


def _first_state(setup: Setup, output: Output) -> RunState:
    """Returns the state before the first step."""
    rows = np.arange(len(setup.job.files))
    with output.timed("compiling"):
        now = rounds.prepare(setup.everyone, 0, rows)
    # A killed run may have written a part of its first checkpoint.
    output.checkpoints.delete_after(-1)
    population = now.create()
    kept = jax.device_get(best.create(now.of_real_teachers(population.teachers)))
    return RunState(now, population, kept, began_with=kept.mean_return)


def _require_memory_of_programs(setup: Setup, state: RunState, planned: _Planned) -> None:
    """Prints the memory that each device will need, including that of the compiled programs. Raises UserError."""
    table, available = planned
    table = table._replace(temporaries=max(table.temporaries, state.round.programs.temporary_bytes))
    share = state.round.teacher_ids.size // setup.mesh.size
    device = f"each of {setup.mesh.size} {setup.mesh.devices.flat[0].device_kind} device(s)"
    progress.print_memory(table, available, share, device, setup.console)
    memory.require_fit(table, setup.config, share, state.round.block, available)
