"""A chunk of a population, block after block of teachers, so that what a processor works on stays in its cache."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

CACHE_BYTES = 4 * 2**20
"""Weights, moments and targets that a core keeps at hand while it trains a block: about its second-level cache."""

LARGEST = 4
"""Teachers in a block where more would fit: enough to hide what a small operation costs beside its arithmetic."""


def tree_bytes(tree: Any) -> int:
    """Returns the bytes of all arrays, or shapes of arrays, in a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def block_size(teachers: int, learner_bytes: int, platform: str) -> int:
    """Returns how many of T teachers a chunk trains at once: all on an accelerator, a divisor of T on a processor.

    Args:
        teachers: T.
        learner_bytes: weights, moments and targets of one teacher.
        platform: of the devices that the chunk is compiled for, which need not be the default ones: `cpu`, `gpu`.
    """
    if platform != "cpu":
        return teachers
    most = max(1, min(LARGEST, CACHE_BYTES // learner_bytes))
    return max(size for size in range(1, most + 1) if teachers % size == 0)


def block_by_block(train: Callable[[Any, Any], tuple[Any, Any]], population: Any, drones: Any, size: int) -> Any:
    """Calls `train(population, drones)` on blocks of `size` teachers, one after another.

    Args:
        train: returns the population after a chunk, and its report of each teacher, [T].
        population: arrays [T, ...], and counters [] that every block begins and ends with alike. Its replay is not cut,
            which would copy it, but told which teachers it is about.
        drones: every array [T, ...].
        size: divides T.

    Returns:
        What `train` would return of the whole population.
    """
    teachers = jax.tree.leaves(drones)[0].shape[0]
    if size == teachers:
        return train(population, drones)

    def cut(tree: Any, first: jax.Array) -> Any:
        return jax.tree.map(
            lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, size) if leaf.ndim else leaf,
            tree,
        )

    def put(tree: Any, part: Any, first: jax.Array) -> Any:
        return jax.tree.map(
            lambda leaf, own: jax.lax.dynamic_update_slice_in_dim(leaf, own, first, 0) if leaf.ndim else own,
            tree,
            part,
        )

    def train_block(number: jax.Array, carried: tuple[Any, Any]) -> tuple[Any, Any]:
        first = number * size
        # The counters in `carried` have moved on with the blocks before.
        now = jax.tree.map(lambda leaf, before: leaf if leaf.ndim else before, carried[0], population)
        block = cut(now.replace(replay=None), first).replace(replay=now.replay.replace(first=first))
        after, report = train(block, cut(drones, first))
        whole = put(now.replace(replay=None), after.replace(replay=None), first)
        return whole.replace(replay=after.replay.replace(first=population.replay.first)), put(carried[1], report, first)

    report = jax.eval_shape(train, population, drones)[1]
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), report)
    return jax.lax.fori_loop(0, teachers // size, train_block, (population, nothing))
