"""The replay buffer of a population, a ring: its state and pure functions on it.

All teachers write the same number of rows at the same time, so they share one cursor, and an insert writes one
contiguous slice of an array with an explicit teacher axis (under `vmap` it would become a scatter).

An observation is stored once: the next observation of a row is in the row that the same environment writes one insert
later. The rows of the newest insert have no next observation yet and are not sampled. At the end of an episode the
following row belongs to the next episode, so the observation before the step stands in for the next observation. At a
termination only the entropy term of RLtools' target uses it; at a truncation, once per episode, the value does too. It
is one step old.
"""

import jax
import jax.numpy as jnp
from flax import struct

from raptor_jax.config import SacConfig
from raptor_jax.sac.teacher import Transition
from raptor_jax.simulator import ACTION_DIM, OBSERVATION_DIM

_WIDTHS = (OBSERVATION_DIM, ACTION_DIM, 1, 1)
ROW_WIDTH = sum(_WIDTHS)
"""Numbers in a row: observation, action, reward, ending. In float16, 64 bytes: a cache line."""

CONTINUES, TERMINATED, TRUNCATED = 0, 1, 2
"""Values of a row's `ending`: the episode continues, was terminated, or was truncated."""


class Experience(struct.PyTreeNode):
    """One step of E environments of each of T teachers, as it is stored."""

    observation: jax.Array
    """[T, E, 26] before the step."""
    action: jax.Array
    """[T, E, 4]"""
    reward: jax.Array
    """[T, E]"""
    terminated: jax.Array
    """[T, E] bool, the step terminated its episode."""
    finished: jax.Array
    """[T, E] bool, terminated or truncated."""


class Replay(struct.PyTreeNode):
    """Experience of T teachers, N rows each."""

    rows: jax.Array
    """[T, N, ROW_WIDTH] in the precision of `sac.replay_precision`."""
    cursor: jax.Array
    """[] int32, the first row of the next insert."""
    filled: jax.Array
    """[] int32, number of rows that contain experience."""
    insert_rows: int = struct.field(pytree_node=False)
    """E, the number of rows of an insert; divides N."""


def row_bytes(config: SacConfig) -> int:
    """Returns the bytes of one transition on the device."""
    return ROW_WIDTH * jnp.dtype(config.replay_precision).itemsize


def rows_needed(capacity: int, transitions: int, insert_rows: int) -> int:
    """Returns N: the capacity, or less if fewer transitions will be written; a multiple of E, at least two inserts."""
    return max(2, -(-min(capacity, transitions) // insert_rows)) * insert_rows


def create(config: SacConfig, teachers: int, rows: int, insert_rows: int) -> Replay:
    """Returns an empty buffer of T teachers and N rows, for inserts of E rows.

    Raises:
        ValueError: E does not divide N.
    """
    if rows % insert_rows:
        raise ValueError(f"inserts of {insert_rows} rows do not divide a buffer of {rows}")
    zero = jnp.zeros((), jnp.int32)
    return Replay(jnp.zeros((teachers, rows, ROW_WIDTH), config.replay_precision), zero, zero, insert_rows)


def insert(replay: Replay, experience: Experience) -> Replay:
    """Overwrites the oldest rows with one step of all environments.

    E divides N, so the slice never wraps around.
    """
    ending = jnp.where(experience.terminated, TERMINATED, jnp.where(experience.finished, TRUNCATED, CONTINUES))
    columns = (experience.observation, experience.action, experience.reward[..., None], ending[..., None])
    rows = jnp.concatenate([column.astype(replay.rows.dtype) for column in columns], axis=-1)
    capacity = replay.rows.shape[1]
    return replay.replace(
        rows=jax.lax.dynamic_update_slice(replay.rows, rows, (0, replay.cursor, 0)),
        cursor=(replay.cursor + replay.insert_rows) % capacity,
        filled=jnp.minimum(replay.filled + replay.insert_rows, capacity),
    )


def repaired(replay: Replay, broken: jax.Array) -> Replay:
    """Replaces the non-finite rows of broken teachers by the first finite row of the same teacher.

    Args:
        replay: the buffer.
        broken: [T] bool, teachers whose rows are replaced.
    """
    finite = jnp.all(jnp.isfinite(replay.rows), axis=-1)
    first = jnp.argmax(finite, axis=1)
    whole = jnp.take_along_axis(replay.rows, first[:, None, None], axis=1)
    # The next observation of the original row is not that of its copies.
    whole = whole.at[..., -1].set(TRUNCATED)
    bad = broken[:, None] & ~finite
    return replay.replace(rows=jnp.where(bad[..., None], whole, replay.rows))


def sample(replay: Replay, keys: jax.Array, batch_size: int) -> Transition:
    """Samples a batch for each teacher, uniformly and with replacement.

    Args:
        replay: a buffer that holds at least two inserts.
        keys: [T], one for each teacher.
        batch_size: B.

    Returns:
        Transitions [T, B, ...], float32.
    """
    capacity = replay.rows.shape[1]
    complete = replay.filled - replay.insert_rows
    drawn = jax.vmap(lambda key: jax.random.randint(key, (batch_size,), 0, complete))(keys)
    index = replay.cursor - replay.filled + drawn
    teacher = jnp.arange(keys.shape[0])[:, None]
    now = replay.rows[teacher, index % capacity].astype(jnp.float32)
    following = replay.rows[teacher, (index + replay.insert_rows) % capacity, :OBSERVATION_DIM].astype(jnp.float32)
    observation, action, reward, ending = columns(now)
    return Transition(
        observation=observation,
        action=action,
        reward=reward,
        terminated=(ending == TERMINATED).astype(jnp.float32),
        next_observation=jnp.where((ending == CONTINUES)[..., None], following, observation),
    )


def columns(rows: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Splits rows [..., ROW_WIDTH] into observation [..., 26], action [..., 4], reward [...] and ending [...]."""
    ends = [sum(_WIDTHS[: i + 1]) for i in range(len(_WIDTHS) - 1)]
    observation, action, reward, ending = jnp.split(rows, ends, axis=-1)
    return observation, action, reward[..., 0], ending[..., 0]
