"""The best actor of each teacher so far, by evaluation."""

import functools

import jax
import jax.numpy as jnp
from flax import struct

from raptor_jax import sac
from raptor_jax.population.per_teacher import select


class Best(struct.PyTreeNode):
    """The kept actors of T teachers, and the evaluations that they won by."""

    actor: sac.Parameters
    """The weights, each [T, ...]."""
    mean_return: jax.Array
    """[T], -inf before the first evaluation."""
    std_return: jax.Array
    """[T], over the episodes of that evaluation."""
    step: jax.Array
    """[T] int32, environment steps of the teacher at that evaluation."""


def create(actors: sac.Parameters) -> Best:
    """Returns what is kept before the first evaluation of actors [T, ...]."""
    count = jax.tree.leaves(actors)[0].shape[0]
    never = jnp.full(count, -jnp.inf, jnp.float32)
    # A copy: an actor that is donated to the next chunk must not go with it.
    return Best(jax.tree.map(jnp.copy, actors), never, jnp.zeros(count, jnp.float32), jnp.zeros(count, jnp.int32))


@functools.partial(jax.jit, donate_argnames="best")
def keep(
    best: Best, rows: jax.Array, actors: sac.Parameters, mean_return: jax.Array, std_return: jax.Array, step: jax.Array
) -> Best:
    """Keeps every actor that beats its teacher's best so far.

    Args:
        best: of all T teachers; donated.
        rows: [R] places of the evaluated teachers among the T.
        actors: theirs, [R', ...]; what follows the first R only filled the devices.
        mean_return: [R'].
        std_return: [R'].
        step: [] environment steps of the teachers.
    """
    before = jax.tree.map(lambda leaf: leaf[rows], best)
    actors, mean_return, std_return = jax.tree.map(lambda leaf: leaf[: rows.size], (actors, mean_return, std_return))
    challenger = Best(actors, mean_return, std_return, jnp.full_like(before.step, step))
    after = select(mean_return > before.mean_return, challenger, before)
    return jax.tree.map(lambda leaf, kept: leaf.at[rows].set(kept), best, after)
