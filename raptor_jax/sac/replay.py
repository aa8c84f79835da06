"""The population's ring buffer: state and pure functions.

All teachers write the same number of rows at the same time, so they share one cursor, and an insert is one contiguous
slice of an array with an explicit teacher axis (a `vmap` of it would become a scatter).

An observation is stored once: the next observation of a row is in the row that the same environment wrote one insert
later. The rows of the newest insert wait for theirs, and are not drawn yet. Where an episode ended, the row that
follows belongs to another one, and the observation before the last step stands in for the one after it. What that
changes: at a termination the value is masked, and only the entropy term of RLtools' target looks 10 ms back; at a cut,
one transition in a whole episode, the value does too.
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

GOES_ON, TERMINATED, CUT = 0, 1, 2
"""What a row says of its step's end: of the episode, by leaving the limits, or by its length."""


class Experience(struct.PyTreeNode):
    """One step of E environments of T teachers, as it is stored."""

    observation: jax.Array
    """[T, E, 26] before the step."""
    action: jax.Array
    """[T, E, 4]"""
    reward: jax.Array
    """[T, E]"""
    terminated: jax.Array
    """[T, E] bool, the step ended its episode by leaving the limits."""
    finished: jax.Array
    """[T, E] bool, terminated, or cut at the longest length."""


class Replay(struct.PyTreeNode):
    """Experience of T teachers, N rows each."""

    rows: jax.Array
    """[T, N, ROW_WIDTH] in the precision of `sac.replay_precision`."""
    cursor: jax.Array
    """[] int32, the row that the next insert starts at."""
    filled: jax.Array
    """[] int32, rows that hold experience."""
    first: jax.Array
    """[] int32, the teacher that inserts and draws begin with: 0, or that of a block of teachers."""
    insert_rows: int = struct.field(pytree_node=False)
    """E, the rows of an insert; divides N."""


def row_bytes(config: SacConfig) -> int:
    """Returns the bytes of one transition on the device."""
    return ROW_WIDTH * jnp.dtype(config.replay_precision).itemsize


def rows_needed(capacity: int, transitions: int, insert_rows: int) -> int:
    """Returns N: the capacity, or less if fewer transitions will ever be written, in whole inserts, of which two."""
    return max(2, -(-min(capacity, transitions) // insert_rows)) * insert_rows


def create(config: SacConfig, teachers: int, rows: int, insert_rows: int) -> Replay:
    """Returns an empty buffer of T teachers and N rows, for inserts of E rows.

    Raises:
        ValueError: E does not divide N.
    """
    if rows % insert_rows:
        raise ValueError(f"inserts of {insert_rows} rows do not divide a buffer of {rows}")
    zero = jnp.zeros((), jnp.int32)
    return Replay(jnp.zeros((teachers, rows, ROW_WIDTH), config.replay_precision), zero, zero, zero, insert_rows)


def insert(replay: Replay, experience: Experience) -> Replay:
    """Writes one step of all environments, of teachers from `replay.first` on, over their oldest rows.

    E divides N, so that a slice never wraps.
    """
    ending = jnp.where(experience.terminated, TERMINATED, jnp.where(experience.finished, CUT, GOES_ON))
    columns = (experience.observation, experience.action, experience.reward[..., None], ending[..., None])
    rows = jnp.concatenate([column.astype(replay.rows.dtype) for column in columns], axis=-1)
    capacity = replay.rows.shape[1]
    return replay.replace(
        rows=jax.lax.dynamic_update_slice(replay.rows, rows, (replay.first, replay.cursor, jnp.int32(0))),
        cursor=(replay.cursor + replay.insert_rows) % capacity,
        filled=jnp.minimum(replay.filled + replay.insert_rows, capacity),
    )


def mended(replay: Replay, broken: jax.Array) -> Replay:
    """Replaces rows with non-finite numbers, of the teachers [T] that are broken, by the first whole row of each."""
    finite = jnp.all(jnp.isfinite(replay.rows), axis=-1)
    first = jnp.argmax(finite, axis=1)
    whole = jnp.take_along_axis(replay.rows, first[:, None, None], axis=1)
    # What followed the whole row does not follow its copies.
    whole = whole.at[..., -1].set(CUT)
    bad = broken[:, None] & ~finite
    return replay.replace(rows=jnp.where(bad[..., None], whole, replay.rows))


def sample(replay: Replay, keys: jax.Array, batch_size: int) -> Transition:
    """Draws a batch for every teacher from `replay.first` on, [T, B], uniformly and with replacement, in float32.

    Args:
        replay: at least two inserts in it.
        keys: one for each teacher, [T].
        batch_size: B.
    """
    capacity = replay.rows.shape[1]
    complete = replay.filled - replay.insert_rows
    drawn = jax.vmap(lambda key: jax.random.randint(key, (batch_size,), 0, complete))(keys)
    index = replay.cursor - replay.filled + drawn
    teacher = replay.first + jnp.arange(keys.shape[0], dtype=jnp.int32)[:, None]
    now = replay.rows[teacher, index % capacity].astype(jnp.float32)
    following = replay.rows[teacher, (index + replay.insert_rows) % capacity, :OBSERVATION_DIM].astype(jnp.float32)
    observation, action, reward, ending = columns(now)
    return Transition(
        observation=observation,
        action=action,
        reward=reward,
        terminated=(ending == TERMINATED).astype(jnp.float32),
        next_observation=jnp.where((ending == GOES_ON)[..., None], following, observation),
    )


def columns(rows: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Returns rows [..., ROW_WIDTH] as observation [..., 26], action [..., 4], reward [...] and ending [...]."""
    ends = [sum(_WIDTHS[: i + 1]) for i in range(len(_WIDTHS) - 1)]
    observation, action, reward, ending = jnp.split(rows, ends, axis=-1)
    return observation, action, reward[..., 0], ending[..., 0]
