"""Programs that run on blocks of teachers, so that the working set of a processor stays in its cache.

The program of a block is compiled once, for any number of teachers and for every round. An accelerator takes all of
its teachers as one block.
"""

import functools
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from raptor_jax.config import Config
from raptor_jax.population import sharding

CACHE_BYTES = 4 * 2**20
"""Largest total size of weights, moments and targets in a block: about the second-level cache of a core."""

LARGEST = 4
"""Most teachers in a block: enough to amortise the overhead of small operations."""

LARGEST_OF_WINDOWS = 8
"""The same at a horizon above 0, which has more small operations (docs/speed.md)."""

SMALLEST_ROUND = 250
"""Up to this number of teachers, an update takes nearly the same time on an accelerator."""


def block_size(config: Config, platform: str, learner_bytes: int, teachers: int, everyone: int) -> int:
    """Returns how many teachers a device trains at once.

    Args:
        config: settings.
        platform: `cpu` or `gpu`, that of the devices, which need not be the default ones.
        learner_bytes: weights, moments and targets of one teacher.
        teachers: number on one device in this round.
        everyone: number on one device in the main round.
    """
    if platform != "cpu":
        return _on_accelerator(teachers, everyone) if config.sac.horizon else teachers
    largest = LARGEST_OF_WINDOWS if config.sac.horizon else LARGEST
    return _on_processor(teachers, everyone, max(1, min(largest, CACHE_BYTES // learner_bytes)))


def _on_processor(teachers: int, everyone: int, largest: int) -> int:
    """Returns the fastest size for the main round; for an extra round that size or 1, so that few programs compile.

    A block of n teachers is assumed to cost n + 1 units of time, which is close to measurements (docs/speed.md).
    """

    def cost(teachers: int, size: int) -> tuple[int, int]:
        return -(-teachers // size) * (size + 1), -size

    of_main_round = min(range(1, largest + 1), key=lambda size: cost(everyone, size))
    return min((of_main_round, 1), key=lambda size: cost(teachers, size))


def _on_accelerator(teachers: int, everyone: int) -> int:
    """Returns the number of teachers, filled up to one of few sizes.

    On an H200 an update of 250 teachers takes little longer than one of a single teacher, and programs for another
    number compile for 40 s (docs/speed.md).
    """
    sizes = sorted({min(SMALLEST_ROUND, everyone), -(-everyone // 4), everyone})
    return next(size for size in sizes if size >= teachers)


def filled_up(rows: np.ndarray, mesh: Mesh, block: int) -> np.ndarray:
    """Returns rows [R], with the last one repeated until every device has equally many whole blocks.

    The repeated teachers compute the same numbers, because draws follow from a teacher's identity; they are discarded.
    """
    missing = -rows.size % (mesh.size * block)
    return np.append(rows, np.repeat(rows[-1:], missing))


def _with_leading_size(trees: Any, size: int) -> Any:
    def resized(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((size, *leaf.shape[1:]) if leaf.ndim else (), leaf.dtype)

    return jax.tree.map(resized, trees)


class Blockwise(NamedTuple):
    """A compiled program of a block, to be called on all teachers of the devices."""

    run: jax.stages.Compiled
    """The program of a block."""
    donates: bool
    """Whether it donates its first argument, and returns that and a report; else it only returns a report."""
    mesh: Mesh
    firsts: range
    """For each block, the first of its teachers on a device."""
    report: Any
    """Shapes of the report of all teachers, [R', ...]."""
    cut: jax.stages.Compiled | None
    """(arguments, first) -> those of a block; None if there is only one block."""
    put: jax.stages.Compiled | None
    """(results, which are donated; those of a block; first) -> results that contain those of the block."""

    def __call__(self, *arguments: Any) -> Any:
        """Returns the results for trees of all teachers, [R', ...]; scalars are those of a block."""
        if self.cut is None or self.put is None:
            return self.run(*arguments)
        report = sharding.shard(self.mesh, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), self.report))
        results = (arguments[0], report) if self.donates else report
        for first in map(np.int32, self.firsts):
            now = (results[0], *arguments[1:]) if self.donates else arguments
            part = self.run(*self.cut(now, first))
            results = self.put(results, part, first)
            # The rest would occupy memory while the next block runs.
            part = jax.tree.map(lambda leaf: None if leaf.ndim else leaf, part)
        return jax.tree.map(lambda of_all, shared: of_all if shared is None else shared, results, part)

    @property
    def temporary_bytes(self) -> int:
        """Returns what a device needs besides arguments and results; 0 if XLA does not report it."""
        analysis = self.run.memory_analysis()
        if analysis is None:
            return 0
        return analysis.temp_size_in_bytes + (analysis.argument_size_in_bytes if self.cut else 0)


def start_compiling(
    start: Callable[..., Future[jax.stages.Compiled]],
    mesh: Mesh,
    block: int,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    compiled: jax.stages.Compiled | None = None,
    donate: bool = False,
    **how: bool,
) -> Callable[[], Blockwise]:
    """Starts to compile a function for a block of teachers; the result waits for it.

    Args:
        start: of `sharding.compiling`.
        mesh: the devices.
        block: teachers of a block on a device.
        function: takes and returns trees of teachers, and scalars that all share.
        arguments: trees of R' teachers, or their shapes; every device has equally many whole blocks.
        compiled: the function, if it was already compiled; used if its blocks have the same shapes.
        donate: see `Blockwise.donates`.
        how: see `sharding.start_compiling`.
    """
    of_block = _with_leading_size(arguments, mesh.size * block)
    if compiled is not None and _takes(compiled, of_block):
        return lambda: _blockwise(mesh, compiled, block, arguments, donate)
    future = start(function, *of_block, donate=donate, **how)
    return lambda: _blockwise(mesh, future.result(), block, arguments, donate)


def _takes(program: jax.stages.Compiled, arguments: tuple[Any, ...]) -> bool:
    """Returns whether a program was compiled for arguments of these shapes."""
    found, wanted = jax.tree.leaves(program.args_info), jax.tree.leaves(arguments)
    return [(leaf.shape, leaf.dtype) for leaf in found] == [(leaf.shape, leaf.dtype) for leaf in wanted]


def _blockwise(
    mesh: Mesh, run: jax.stages.Compiled, block: int, arguments: tuple[Any, ...], donates: bool
) -> Blockwise:
    teachers = max(leaf.shape[0] for leaf in jax.tree.leaves(arguments) if leaf.ndim)
    firsts = range(0, teachers // mesh.size, block)
    report = _with_leading_size(run.out_info[1] if donates else run.out_info, teachers)
    cut = put = None
    if len(firsts) > 1:
        first = jax.ShapeDtypeStruct((), np.int32)
        results = (arguments[0], report) if donates else report
        cut = sharding.compile_sharded(mesh, functools.partial(_cut, block), arguments, first)
        put = sharding.compile_sharded(mesh, _put, results, run.out_info, first, donate=True)
    return Blockwise(run, donates, mesh, firsts, report, cut, put)


def _cut(size: int, trees: Any, first: jax.Array) -> Any:
    return jax.tree.map(
        lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, size) if leaf.ndim else leaf,
        trees,
    )


def _put(trees: Any, part: Any, first: jax.Array) -> Any:
    """Returns the trees with the rows of a block; the scalars stay, because every block begins with them."""
    return jax.tree.map(
        lambda leaf, own: jax.lax.dynamic_update_slice_in_dim(leaf, own, first, 0) if leaf.ndim else leaf, trees, part
    )
