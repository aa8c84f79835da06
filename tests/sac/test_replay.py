"""The ring buffer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from raptor_jax.config import SacConfig
from raptor_jax.sac import Transition
from raptor_jax.sac import replay as replays
from raptor_jax.simulator import ACTION_DIM, OBSERVATION_DIM

TEACHERS = 2
ENVIRONMENTS = 3
CAPACITY = 4 * ENVIRONMENTS
CONFIG = SacConfig(replay_precision="float32")


def numbered(insert: int) -> replays.Experience:
    """Returns an insert whose rows carry their number in reward, action and observation, plus 100 for each teacher."""
    rows = insert * ENVIRONMENTS + np.arange(ENVIRONMENTS)
    number = jnp.asarray(100 * np.arange(TEACHERS)[:, None] + rows, jnp.float32)
    return replays.Experience(
        observation=jnp.repeat(number[..., None], OBSERVATION_DIM, -1),
        action=jnp.repeat(-number[..., None], ACTION_DIM, -1),
        reward=number,
        terminated=jnp.zeros(number.shape, bool),
        finished=jnp.zeros(number.shape, bool),
    )


def filled_with(inserts: int, config: SacConfig = CONFIG) -> replays.Replay:
    """Returns a replay of four inserts after some number of inserts."""
    replay = replays.create(config, TEACHERS, CAPACITY, ENVIRONMENTS)
    for i in range(inserts):
        replay = replays.insert(replay, numbered(i))
    return replay


def drawn(replay: replays.Replay, batch_size: int = 500) -> Transition:
    return replays.sample(replay, jax.random.split(jax.random.key(0), TEACHERS), batch_size)


def test_a_sample_has_the_next_observation():
    batch = drawn(filled_with(inserts=3))
    np.testing.assert_array_equal(batch.observation, np.repeat(batch.reward[..., None], OBSERVATION_DIM, -1))
    np.testing.assert_array_equal(batch.action, np.repeat(-batch.reward[..., None], ACTION_DIM, -1))
    np.testing.assert_array_equal(batch.next_observation, batch.observation + ENVIRONMENTS)
    np.testing.assert_array_equal(batch.terminated, np.zeros_like(batch.reward))


def test_at_an_end_the_observation_replaces_the_next():
    replay, ends = filled_with(inserts=1), numbered(1)
    terminated, finished = ends.terminated.at[:, 0].set(True), ends.finished.at[:, [0, 2]].set(True)
    replay = replays.insert(replay, ends.replace(terminated=terminated, finished=finished))
    batch = drawn(replays.insert(replay, numbered(2)))
    row = np.asarray(batch.reward, int) % 100
    ended = np.isin(row, (ENVIRONMENTS, ENVIRONMENTS + 2))
    assert set(row[ended]) == {ENVIRONMENTS, ENVIRONMENTS + 2}
    step = np.where(ended, 0, ENVIRONMENTS)[..., None]
    np.testing.assert_array_equal(batch.next_observation, batch.observation + step)
    np.testing.assert_array_equal(batch.terminated, row == ENVIRONMENTS)


@pytest.mark.parametrize("inserts", [2, 3, 4, 5, 6, 7, 8])
def test_samples_reach_every_complete_row(inserts):
    replay = filled_with(inserts)
    kept = min(inserts, 4) * ENVIRONMENTS
    assert (replay.cursor, replay.filled) == (inserts * ENVIRONMENTS % CAPACITY, kept)
    last = inserts * ENVIRONMENTS
    for teacher, rewards in enumerate(np.asarray(drawn(replay).reward)):
        np.testing.assert_array_equal(np.unique(rewards) - 100 * teacher, np.arange(last - kept, last - ENVIRONMENTS))


def test_samples_are_uniform_per_teacher():
    numbers = np.asarray(drawn(filled_with(inserts=5), 24_000).reward, int) % 100 - ENVIRONMENTS
    for own in numbers:
        assert stats.chisquare(np.bincount(own, minlength=9)).pvalue > 1e-3
    assert np.mean(numbers[0] == numbers[1]) == pytest.approx(1 / 9, abs=0.01)


def test_float16_rows_have_64_bytes():
    config = SacConfig(replay_precision="float16")
    replay = filled_with(inserts=0, config=config)
    assert replay.rows.nbytes == TEACHERS * CAPACITY * 64 == TEACHERS * CAPACITY * replays.row_bytes(config)
    random = np.random.default_rng(0)
    shape = (TEACHERS, ENVIRONMENTS, OBSERVATION_DIM)
    observation = (10.0 ** random.uniform(-3, 3, shape) * random.choice([-1, 1], shape)).astype(np.float32)
    for i in range(2):
        replay = replays.insert(replay, numbered(i).replace(observation=jnp.asarray(observation)))
    batch = drawn(replay)
    assert batch.observation.dtype == batch.next_observation.dtype == jnp.float32
    environment = np.asarray(batch.reward, int) % 100
    stored = np.take_along_axis(observation, environment[..., None], axis=1)
    np.testing.assert_allclose(batch.observation, stored, rtol=2**-11)


def test_inserts_must_divide_the_buffer():
    with pytest.raises(ValueError, match=r"5 rows .* 12"):
        replays.create(CONFIG, TEACHERS, CAPACITY, 5)


@pytest.mark.parametrize(
    ("capacity", "transitions", "insert", "rows"),
    [(1000, 96, 16, 96), (1000, 100, 16, 112), (96, 1000, 16, 96), (100, 1000, 16, 112), (5, 5, 1, 5), (1, 9, 4, 8)],
)
def test_rows_needed_are_whole_inserts(capacity, transitions, insert, rows):
    assert replays.rows_needed(capacity, transitions, insert) == rows
