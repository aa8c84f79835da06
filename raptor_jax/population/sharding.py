"""The teacher axis over all devices of all processes: each device trains teachers of its own and waits for no other.

Wherever a tree goes through here, its arrays lead with the teacher axis, and its scalars are the same for all teachers.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from raptor_jax.simulator.compiler import compiling_for, options

TEACHERS = "teachers"


def mesh() -> Mesh:
    """Returns all devices of all processes in a row."""
    return Mesh(np.asarray(jax.devices()), (TEACHERS,))


def platform(mesh: Mesh) -> str:
    """Returns what the devices are, `cpu` or `gpu`; they need not be there (`jax.experimental.topologies`)."""
    return str(mesh.devices.flat[0].platform)


def leads() -> bool:
    """Returns whether this process is the one that writes the results; every other only computes."""
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """Returns whether a flag is set in any process, alike in all of them."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def wait_for_all(where: str) -> None:
    """Waits until every process has come to the same place."""
    multihost_utils.sync_global_devices(where)


def padded(rows: np.ndarray, mesh: Mesh) -> np.ndarray:
    """Returns rows [R] and after them the last one again, until the devices can share them evenly.

    What is computed twice comes out alike, for a teacher's draws go by its identity, and is thrown away.
    """
    return np.append(rows, np.repeat(rows[-1:], -rows.size % mesh.size))


def spread(mesh: Mesh, tree: Any) -> Any:
    """Returns arrays of this process's memory, of which all processes have the same, as arrays on their devices."""

    def place(leaf: Any, sharding: NamedSharding) -> jax.Array:
        # In JAX's precision first: what it halves on the way would not compare equal in two processes.
        array = np.asarray(leaf, jax.dtypes.canonicalize_dtype(leaf.dtype))
        return jax.device_put(array, sharding)

    return jax.tree.map(place, tree, _shardings(mesh, tree))


def shapes(mesh: Mesh, tree: Any) -> Any:
    """Returns the shapes of a tree that lies, or will lie, on the devices."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        _shardings(mesh, tree),
    )


def on_each(
    mesh: Mesh, function: Callable[..., Any], *arguments: Any, donate: bool = False, runs_once: bool = False
) -> jax.stages.Compiled:
    """Compiles a function for the part of the teachers that each device has.

    Args:
        mesh: the devices.
        function: of trees as above, as one device would call it with all teachers; returns such a tree.
        arguments: shapes of its arguments with all teachers; their number is a multiple of the devices'.
        donate: whether the first argument is used up.
        runs_once: whether the program runs once, so that it should rather compile quickly.
    """
    arguments = tuple(shapes(mesh, argument) for argument in arguments)
    with compiling_for(platform(mesh)):
        if mesh.size > 1:
            results = jax.eval_shape(function, *arguments)
            specs = {"in_specs": _specs(arguments), "out_specs": _specs(results)}
            function = jax.shard_map(function, mesh=mesh, check_vma=False, **specs)
        program = jax.jit(function, donate_argnums=(0,) if donate else ()).lower(*arguments)
        return program.compile(options(platform(mesh), runs_once))


def everywhere(mesh: Mesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function whose results every device has whole; its first argument is used up."""
    return jax.jit(function, out_shardings=NamedSharding(mesh, PartitionSpec()), donate_argnums=0)


def fetch(tree: Any) -> Any:
    """Returns arrays on the devices as NumPy arrays of all teachers, in every process."""

    def gather(leaf: jax.Array) -> np.ndarray:
        if leaf.is_fully_addressable or leaf.is_fully_replicated:
            return np.asarray(leaf)
        return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))

    return jax.tree.map(gather, tree)


def _specs(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: PartitionSpec(TEACHERS) if leaf.ndim else PartitionSpec(), tree)


def _shardings(mesh: Mesh, tree: Any) -> Any:
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), _specs(tree))
