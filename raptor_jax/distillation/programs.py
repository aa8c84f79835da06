"""The compiled program of a distillation, on all devices of this process."""

import functools
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from raptor_jax import sac, student
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.population import sharding
from raptor_jax.simulator.compiler import compiling_for
from raptor_jax.student import Learner, Metrics

_DEVICES = "devices"
_Tree = TypeVar("_Tree")

Train = Callable[[Learner, sac.Parameters, Drone], tuple[Learner, Metrics]]
"""(the student, which is donated; weights of the teachers; their drones) -> the student after a chunk; metrics."""


def mesh_for(config: Config) -> Mesh:
    """Returns as many devices as can take equal shares of each batch."""
    devices = np.asarray(jax.devices())
    return Mesh(devices[: np.gcd(devices.size, config.distillation.batch_episodes)], (_DEVICES,))


def on_every_device(mesh: Mesh, tree: _Tree) -> _Tree:
    """Returns a tree of arrays with a copy of each on every device."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def compile_chunk(mesh: Mesh, config: Config, learner: Learner, actors: sac.Parameters, drones: Drone) -> Train:
    """Returns the program that runs the iterations of a chunk."""
    train = functools.partial(student.train, config, chunk_iterations(config))
    if mesh.size > 1:
        everywhere = PartitionSpec()
        shared = functools.partial(train, axis_name=_DEVICES)
        train = jax.shard_map(shared, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False)
    with compiling_for(sharding.platform(mesh)):
        return jax.jit(train, donate_argnums=0).lower(learner, actors, drones).compile()


def chunk_iterations(config: Config) -> int:
    """Returns the number of iterations in a chunk: the smallest of the intervals between evaluations and so on."""
    settings = config.distillation
    return min(settings.log_frequency, settings.eval_frequency, settings.checkpoint_frequency, settings.iterations)
