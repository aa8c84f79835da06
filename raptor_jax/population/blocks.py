"""A chunk in blocks of teachers, so that the working set of a processor stays in its cache."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from raptor_jax.drones.parameters import Drone
from raptor_jax.population.state import ChunkMetrics, Population
from raptor_jax.utils.numbers import largest_divisor

_Tree = TypeVar("_Tree")

Trained = tuple[Population, ChunkMetrics]
TrainBlock = Callable[[Population, Drone], Trained]

CACHE_BYTES = 4 * 2**20
"""Most bytes of weights, moments and targets in a block: about the second-level cache of a core."""

LARGEST = 4
"""Most teachers in a block: enough to amortise the overhead of small operations."""

LARGEST_OF_WINDOWS = 8
"""The same at a horizon above 0, which has more small operations (docs/speed.md)."""

SMALLEST_ROUND = 250
"""Teachers of an accelerator's round up to which an update takes nearly the same time."""


def block_size(teachers: int, learner_bytes: int, platform: str, largest: int = LARGEST) -> int:
    """Returns how many of T teachers a chunk trains at once: all on an accelerator, a divisor of T on a processor.

    Args:
        teachers: T.
        learner_bytes: weights, moments and targets of one teacher.
        platform: of the devices that the chunk is compiled for, which need not be the default ones: `cpu`, `gpu`.
        largest: most teachers of a block on a processor.
    """
    if platform != "cpu":
        return teachers
    most = max(1, min(largest, CACHE_BYTES // learner_bytes))
    return largest_divisor(teachers, most)


def in_whole_blocks(teachers: int, platform: str) -> int:
    """Returns the number, at least that of the teachers, that a processor trains fastest in blocks of equal size.

    A number with no large divisor, such as 122, would be trained in blocks of two. A block is assumed to cost as much
    as its teachers and one more, which is near to what was measured (docs/speed.md).
    """
    if platform != "cpu" or teachers <= LARGEST_OF_WINDOWS:
        return teachers

    def cost(size: int) -> tuple[int, int]:
        blocks = -(-teachers // size)
        return blocks * (size + 1), blocks * size

    return min(map(cost, range(1, LARGEST_OF_WINDOWS + 1)))[1]


def least_in_round(teachers: int, everyone: int, platform: str) -> int:
    """Returns the least number of teachers that an accelerator trains in a round of windows.

    On an H200 an update of 250 teachers takes little longer than one of a single teacher, and programs for another
    number compile for 40 s (docs/speed.md). Rounds are therefore filled up to one of few sizes.

    Args:
        teachers: in the round.
        everyone: teachers of the run.
        platform: see `block_size`.
    """
    if platform == "cpu":
        return 0
    sizes = sorted({min(SMALLEST_ROUND, everyone), -(-everyone // 4), everyone})
    return next(size for size in sizes if size >= teachers)


def block_by_block(train: TrainBlock, population: Population, drones: Drone, size: int) -> Trained:
    """Calls `train(population, drones)` on blocks of `size` teachers, one after another.

    Args:
        train: returns the population after a chunk, and its report of each teacher, [T].
        population: arrays [T, ...], and counters [] that every block begins and ends with alike. A replay is not
            sliced (that copies); its `first` is the offset of the block.
        drones: every array [T, ...].
        size: divides T.

    Returns:
        What `train` would return for the whole population.
    """
    teachers = population.active.shape[0]
    if size == teachers:
        return train(population, drones)

    def train_block(number: jax.Array, carried: Trained) -> Trained:
        first = number * size
        # The blocks before have already advanced the counters in `carried`.
        now = jax.tree.map(lambda leaf, before: leaf if leaf.ndim else before, carried[0], population)
        after, report = train(_block_of(now, first, size), _cut(drones, first, size))
        whole = _put(now.replace(replay=None), after.replace(replay=None), first)
        if population.replay is not None and after.replay is not None:
            whole = whole.replace(replay=after.replay.replace(first=population.replay.first))
        return whole, _put(carried[1], report, first)

    report = jax.eval_shape(train, population, drones)[1]
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), report)
    return jax.lax.fori_loop(0, teachers // size, train_block, (population, nothing))


def _block_of(population: Population, first: jax.Array, size: int) -> Population:
    block = _cut(population.replace(replay=None), first, size)
    replay = population.replay
    return block if replay is None else block.replace(replay=replay.replace(first=first))


def _cut(tree: _Tree, first: jax.Array, size: int) -> _Tree:
    """Returns the rows of a block; counters [] are unchanged."""
    return jax.tree.map(
        lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, size) if leaf.ndim else leaf,
        tree,
    )


def _put(tree: _Tree, part: _Tree, first: jax.Array) -> _Tree:
    """Returns the tree with the rows of a block inserted, and the block's counters."""
    return jax.tree.map(
        lambda leaf, own: jax.lax.dynamic_update_slice_in_dim(leaf, own, first, 0) if leaf.ndim else own, tree, part
    )
