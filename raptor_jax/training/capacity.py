"""Checks that the devices have the memory for a training, and the disk the space for its checkpoints."""

from typing import NamedTuple

import jax

from raptor_jax.population import best, memory
from raptor_jax.population.memory import MemoryTable
from raptor_jax.runs import checkpoints, directory
from raptor_jax.training import progress
from raptor_jax.training.setup import Setup
from raptor_jax.training.state import RunState
from raptor_jax.utils.trees import take, tree_bytes


class Planned(NamedTuple):
    """The planned memory of each device, in bytes."""

    table: MemoryTable
    """The memory that it will need, estimated from shapes."""
    available: int


def require_memory_and_space(setup: Setup) -> Planned:
    """Returns the memory that each device will need, and the memory that it has.

    Raises:
        UserError: there is too little memory, or too little disk space for the checkpoints.
    """
    everyone, devices = setup.everyone, setup.mesh.size
    share = -(-len(setup.job.files) // devices)
    drone, kept = take(everyone.drones, slice(1)), jax.eval_shape(best.create, everyone.one.teachers)
    table = memory.plan(setup.config, drone, everyone.one, kept, share, everyone.block)
    available = memory.available_bytes(jax.local_devices()[0])
    memory.require_fit(table, setup.config, share, everyone.block, available)
    of_device = checkpoints.estimated_bytes(share * tree_bytes(kept), table.learner)
    directory.require_space(setup.job.output_dir, devices * of_device)
    return Planned(table, available)


def require_memory_of_programs(setup: Setup, state: RunState, planned: Planned) -> None:
    """Prints the memory that each device will need, including that of the compiled programs. Raises UserError."""
    table, available = planned
    table = table._replace(temporaries=max(table.temporaries, state.round.programs.temporary_bytes))
    share = state.round.teacher_ids.size // setup.mesh.size
    device = f"each of {setup.mesh.size} {setup.mesh.devices.flat[0].device_kind} device(s)"
    progress.print_memory(table, available, share, device, setup.console)
    memory.require_fit(table, setup.config, share, state.round.block, available)
