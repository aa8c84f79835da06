"""The population's ring buffer: state and pure functions.

All teachers write the same number of rows at the same time, so they share one cursor, and an insert is one contiguous
slice of an array with an explicit teacher axis (a `vmap` of it would become a scatter).
"""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from raptor_jax.sac import Transition
from raptor_jax.simulator import ACTION_DIM, OBSERVATION_DIM

_WIDTHS = (OBSERVATION_DIM, ACTION_DIM, 1, 1, OBSERVATION_DIM)
ROW_WIDTH = sum(_WIDTHS)
"""Numbers per transition: observation, action, reward, terminated, next observation."""


class Replay(struct.PyTreeNode):
    """Transitions of T teachers, N rows each."""

    rows: jax.Array
    """[T, N, ROW_WIDTH] float32."""
    cursor: jax.Array
    """[] int32, the row that the next insert starts at."""
    filled: jax.Array
    """[] int32, rows that hold experience."""


def rows_needed(capacity: int, transitions: int, insert: int) -> int:
    """Returns N: the capacity, or less if fewer transitions will ever be written, as a whole number of inserts."""
    return -(-min(capacity, transitions) // insert) * insert


def create(teachers: int, rows: int) -> Replay:
    """Returns an empty buffer of T teachers and N rows."""
    zero = jnp.zeros((), jnp.int32)
    return Replay(jnp.zeros((teachers, rows, ROW_WIDTH), jnp.float32), zero, zero)


def pack(transition: Transition) -> jax.Array:
    """Returns transitions [..., B] as rows [..., B, ROW_WIDTH]."""
    columns = (
        transition.observation,
        transition.action,
        transition.reward[..., None],
        transition.terminated[..., None].astype(transition.reward.dtype),
        transition.next_observation,
    )
    return jnp.concatenate(columns, axis=-1)


def unpack(rows: jax.Array) -> Transition:
    """Returns rows [..., B, ROW_WIDTH] as transitions."""
    ends = [sum(_WIDTHS[: i + 1]) for i in range(len(_WIDTHS) - 1)]
    observation, action, reward, terminated, next_observation = jnp.split(rows, ends, axis=-1)
    return Transition(observation, action, reward[..., 0], terminated[..., 0], next_observation)


def insert(replay: Replay, transitions: Transition) -> Replay:
    """Writes E transitions of every teacher, [T, E], over the oldest; E divides N, so that a slice never wraps."""
    rows = pack(transitions)
    teachers, capacity, _ = replay.rows.shape
    count = rows.shape[1]
    chex.assert_shape(rows, (teachers, count, ROW_WIDTH))
    if capacity % count:
        raise ValueError(f"an insert of {count} rows does not divide a buffer of {capacity}")
    return Replay(
        rows=jax.lax.dynamic_update_slice(replay.rows, rows, (jnp.int32(0), replay.cursor, jnp.int32(0))),
        cursor=(replay.cursor + count) % capacity,
        filled=jnp.minimum(replay.filled + count, capacity),
    )


def sample(replay: Replay, keys: jax.Array, batch_size: int) -> Transition:
    """Draws a batch for every teacher, [T, B], uniformly and with replacement; keys are one a teacher, [T]."""

    def draw(rows: jax.Array, key: jax.Array) -> jax.Array:
        return rows[jax.random.randint(key, (batch_size,), 0, replay.filled)]

    return unpack(jax.vmap(draw)(replay.rows, keys))
