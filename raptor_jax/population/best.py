"""The best evaluated actor of each teacher so far, with its critics and its temperature."""

import functools

import jax
import jax.numpy as jnp
from flax import struct

from raptor_jax import sac
from raptor_jax.population.per_teacher import select
from raptor_jax.sac import Teacher


class Best(struct.PyTreeNode):
    """The best networks of T teachers, and the evaluations that selected them."""

    actor: sac.Parameters
    """The weights, each [T, ...]."""
    critic: sac.Parameters
    """The twin critics' weights, each [T, 2, ...]."""
    alpha: jax.Array
    """[T] entropy weight."""
    mean_return: jax.Array
    """[T], -inf before the first evaluation."""
    std_return: jax.Array
    """[T], over the episodes of that evaluation."""
    step: jax.Array
    """[T] int32, environment steps of the teacher at that evaluation."""


def create(teachers: Teacher) -> Best:
    """Returns the content before the first evaluation: the networks of teachers [T, ...], with a return of -inf."""
    count = teachers.log_alpha.shape[0]
    never = jnp.full(count, -jnp.inf, jnp.float32)
    # A copy, because the original weights are donated to the next chunk.
    actor, critic = jax.tree.map(jnp.copy, (teachers.actor, teachers.critic))
    zero = jnp.zeros(count, jnp.float32)
    return Best(actor, critic, jnp.exp(teachers.log_alpha), never, zero, jnp.zeros(count, jnp.int32))


@functools.partial(jax.jit, donate_argnames="best")
def keep(
    best: Best, rows: jax.Array, teachers: Teacher, mean_return: jax.Array, std_return: jax.Array, step: jax.Array
) -> Best:
    """Keeps every actor with a higher mean return than the best of its teacher so far.

    Args:
        best: of all T teachers; donated.
        rows: [R] places of the evaluated teachers among the T.
        teachers: theirs, [R', ...]; entries after the first R are padding.
        mean_return: [R'].
        std_return: [R'].
        step: [] environment steps of the teachers.
    """
    before = jax.tree.map(lambda leaf: leaf[rows], best)
    steps = jnp.full(teachers.log_alpha.shape, step, best.step.dtype)
    evaluated = Best(teachers.actor, teachers.critic, jnp.exp(teachers.log_alpha), mean_return, std_return, steps)
    challenger: Best = jax.tree.map(lambda leaf: leaf[: rows.size], evaluated)
    after = select(challenger.mean_return > before.mean_return, challenger, before)
    return jax.tree.map(lambda leaf, kept: leaf.at[rows].set(kept), best, after)
