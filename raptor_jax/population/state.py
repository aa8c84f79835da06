"""The population in training, and the metrics of a chunk of its training."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from raptor_jax.sac import Losses, Teacher
from raptor_jax.sac.replay import Replay
from raptor_jax.simulator.episode import Episode


class Population(struct.PyTreeNode):
    """T teachers in training."""

    teachers: Teacher
    """Every array [T, ...]."""
    episodes: Episode
    """Every array [T, E, ...]."""
    replay: Replay | None
    """None at a horizon above 0, where teachers learn from the windows that they have just flown."""
    keys: jax.Array
    """[T] random key of each teacher; never changes."""
    flown: jax.Array
    """[] int32, steps of every environment so far."""
    updates: jax.Array
    """[] int32, critic updates of every teacher so far; at a horizon above 0, updates of actor and critics."""
    active: jax.Array
    """[T] bool, False once a teacher's numbers became non-finite: it keeps its state from before that chunk."""


class Finished(struct.PyTreeNode):
    """Sums over the finished episodes, [T]; sums, so that all episodes have the same weight."""

    episodes: jax.Array
    reward: jax.Array
    """Sum of their returns."""
    length: jax.Array
    """Sum of their lengths."""


class ChunkMetrics(struct.PyTreeNode):
    """Metrics of each teacher in a chunk, [T]; NaN if there are none.

    The losses, the value and the entropy are means over the chunk; alpha is that at its end.
    """

    critic_loss: jax.Array
    actor_loss: jax.Array
    alpha: jax.Array
    q_value: jax.Array
    entropy: jax.Array
    episode_reward: jax.Array
    """Mean return, with sampled actions, of the episodes that finished in the chunk."""
    episode_length: jax.Array
    """Mean length of these episodes, in steps."""


def finished_where(finished: jax.Array, total_reward: jax.Array, length: jax.Array) -> Finished:
    """Returns the sums over the environments [T, E] whose episode has finished."""

    def total(values: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(finished, values, 0), axis=1, dtype=jnp.float32)

    return Finished(total(jnp.ones(())), total(total_reward), total(length))


def total(finished: Finished) -> Finished:
    """Returns the sum over the leading axis."""
    return jax.tree.map(lambda values: values.sum(axis=0), finished)


def mean_reported(losses: Losses) -> Losses:
    """Returns the mean over the leading axis without the NaN values; NaN if all are NaN."""
    return jax.tree.map(lambda values: jnp.nanmean(values, axis=0), losses)


def chunk_metrics(losses: Losses, finished: Finished) -> ChunkMetrics:
    """Returns a chunk's metrics; a mean over no episode is 0 / 0, NaN."""
    return ChunkMetrics(
        **vars(losses),
        episode_reward=finished.reward / finished.episodes,
        episode_length=finished.length / finished.episodes,
    )


def stack(reports: list[Any]) -> Any:
    """Stacks trees of arrays along a new leading axis."""
    return jax.tree.map(lambda *values: jnp.stack(values), *reports)
