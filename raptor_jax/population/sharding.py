"""The teacher axis, sharded over all devices of all processes; a device trains its teachers without waiting for others.

In every tree here, arrays have the teacher axis first, and scalars are shared by all teachers.
"""

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.extend.core import jaxpr_as_fun
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from raptor_jax.simulator.compiler import compiling_for, options

TEACHERS = "teachers"


def mesh() -> Mesh:
    """Returns a one-dimensional mesh of all devices of all processes."""
    return Mesh(np.asarray(jax.devices()), (TEACHERS,))


def platform(mesh: Mesh) -> str:
    """Returns the platform of the devices, `cpu` or `gpu`; the mesh may consist of descriptions of devices."""
    return str(mesh.devices.flat[0].platform)


def is_main_process() -> bool:
    """Returns whether this process writes files and prints; the others only compute."""
    return jax.process_index() == 0


def any_process(flag: bool) -> bool:
    """Returns whether the flag is set in any process; every process gets the same answer."""
    if jax.process_count() == 1:
        return flag
    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def wait_for_all(name: str) -> None:
    """Waits until every process has reached the barrier with this name."""
    multihost_utils.sync_global_devices(name)


def shard(mesh: Mesh, tree: Any) -> Any:
    """Returns host arrays, identical in all processes, as arrays sharded over the devices."""

    def place(leaf: Any, sharding: NamedSharding) -> jax.Array:
        # In JAX's precision first: device_put compares the arrays of all processes, before and after rounding.
        array = np.asarray(leaf, jax.dtypes.canonicalize_dtype(leaf.dtype))
        return jax.device_put(array, sharding)

    return jax.tree.map(place, tree, _shardings(mesh, tree))


def shapes(mesh: Mesh, tree: Any) -> Any:
    """Returns the shapes of a tree, with the sharding that it has on the devices."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        _shardings(mesh, tree),
    )


def compile_sharded(mesh: Mesh, function: Callable[..., Any], *arguments: Any, **how: bool) -> jax.stages.Compiled:
    """Compiles a function so that each device runs it on its own teachers; arguments as in `start_compiling`."""
    with compiling(mesh) as start:
        return start(function, *arguments, **how).result()


@contextmanager
def compiling(mesh: Mesh) -> Iterator[Callable[..., Future[jax.stages.Compiled]]]:
    """Yields `start_compiling` for programs that XLA compiles at the same time; waits for all of them at the end."""
    with ThreadPoolExecutor() as pool:
        yield functools.partial(start_compiling, pool, mesh)


def start_compiling(
    pool: Executor,
    mesh: Mesh,
    function: Callable[..., Any],
    *arguments: Any,
    donate: bool = False,
    runs_once: bool = False,
    loops_in_graphs: bool = False,
) -> Future[jax.stages.Compiled]:
    """Traces a function so that each device runs it on its own teachers, and starts to compile it.

    Args:
        pool: threads that compile.
        mesh: the devices.
        function: takes and returns trees as above; written as if one device held all teachers.
        arguments: shapes of its arguments for all teachers, a multiple of the number of devices.
        donate: whether the first argument is donated.
        runs_once: whether the program runs only once, so that fast compilation matters more than speed.
        loops_in_graphs: see `simulator.compiler.options`.
    """
    arguments = tuple(shapes(mesh, argument) for argument in arguments)
    with compiling_for(platform(mesh)):
        if mesh.size > 1:
            function = _on_each_device(mesh, function, arguments)
        program = jax.jit(function, donate_argnums=(0,) if donate else ()).lower(*arguments)
    return pool.submit(program.compile, options(platform(mesh), runs_once, loops_in_graphs))


def _on_each_device(mesh: Mesh, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Callable[..., Any]:
    """Returns the function of all teachers that runs `function` on those of each device; it is traced once."""
    of_device = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.sharding.shard_shape(leaf.shape), leaf.dtype), arguments
    )
    traced = jax.jit(function).trace(*of_device)

    def run(*arguments: Any) -> Any:
        results = jaxpr_as_fun(traced.jaxpr)(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(traced.out_info), results)

    specs = {"in_specs": _specs(arguments), "out_specs": _specs(traced.out_info)}
    return jax.shard_map(run, mesh=mesh, check_vma=False, **specs)


def replicate(mesh: Mesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function, jitted, with its results replicated on every device; its first argument is donated."""
    return jax.jit(function, out_shardings=NamedSharding(mesh, PartitionSpec()), donate_argnums=0)


def gather(tree: Any) -> Any:
    """Returns arrays on the devices as NumPy arrays of all teachers, in every process."""

    def to_host(leaf: jax.Array) -> np.ndarray:
        if leaf.is_fully_addressable or leaf.is_fully_replicated:
            return np.asarray(leaf)
        return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))

    return jax.tree.map(to_host, tree)


def _specs(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: PartitionSpec(TEACHERS) if leaf.ndim else PartitionSpec(), tree)


def _shardings(mesh: Mesh, tree: Any) -> Any:
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), _specs(tree))
