"""The ring buffer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from raptor_jax import replay as replays
from raptor_jax.sac import Transition
from raptor_jax.simulator import ACTION_DIM, OBSERVATION_DIM

TEACHERS = 2


def numbered(first: int, count: int) -> Transition:
    """Returns transitions [T, count] whose reward is 100 * teacher + their number."""
    reward = 100 * np.arange(TEACHERS)[:, None] + np.arange(first, first + count)
    rows = (TEACHERS, count)
    return Transition(
        observation=jnp.zeros((*rows, OBSERVATION_DIM)),
        action=jnp.zeros((*rows, ACTION_DIM)),
        reward=jnp.asarray(reward, jnp.float32),
        terminated=jnp.zeros(rows),
        next_observation=jnp.zeros((*rows, OBSERVATION_DIM)),
    )


def filled_with(inserts: int, count: int, capacity: int) -> replays.Replay:
    replay = replays.create(TEACHERS, capacity)
    for i in range(inserts):
        replay = replays.insert(replay, numbered(i * count, count))
    return replay


def stored_numbers(replay: replays.Replay) -> np.ndarray:
    """Returns the numbers in every row of the first teacher, and checks that the others hold the same."""
    rewards = np.asarray(replays.unpack(replay.rows).reward)[:, : int(replay.filled)]
    for teacher in range(TEACHERS):
        np.testing.assert_array_equal(rewards[teacher], rewards[0] + 100 * teacher)
    return rewards[0]


def test_rows_give_back_what_was_packed():
    random = np.random.default_rng(0)
    shape = (TEACHERS, 5)
    packed = Transition(
        observation=random.normal(size=(*shape, OBSERVATION_DIM)).astype(np.float32),
        action=random.normal(size=(*shape, ACTION_DIM)).astype(np.float32),
        reward=random.normal(size=shape).astype(np.float32),
        terminated=random.random(shape) < 0.5,
        next_observation=random.normal(size=(*shape, OBSERVATION_DIM)).astype(np.float32),
    )
    rows = replays.pack(jax.tree.map(jnp.asarray, packed))
    assert rows.shape == (*shape, replays.ROW_WIDTH)
    assert rows.dtype == jnp.float32
    jax.tree.map(np.testing.assert_array_equal, replays.unpack(rows), packed)


def test_it_fills_from_the_start():
    replay = filled_with(inserts=2, count=3, capacity=12)
    assert (replay.cursor, replay.filled) == (6, 6)
    np.testing.assert_array_equal(stored_numbers(replay), np.arange(6))


def test_when_full_the_oldest_rows_give_way():
    replay = filled_with(inserts=6, count=3, capacity=12)
    assert (replay.cursor, replay.filled) == (6, 12)
    np.testing.assert_array_equal(stored_numbers(replay), [*range(12, 18), *range(6, 12)])


def test_a_full_ring_wraps_to_its_start():
    replay = filled_with(inserts=4, count=3, capacity=12)
    assert (replay.cursor, replay.filled) == (0, 12)


def test_an_insert_that_does_not_divide_the_buffer_is_an_error():
    with pytest.raises(ValueError, match=r"5 rows .* 12"):
        replays.insert(replays.create(TEACHERS, 12), numbered(0, 5))


@pytest.mark.parametrize("inserts", [1, 3, 4, 7])
def test_samples_come_from_filled_rows_of_the_own_teacher_and_reach_all_of_them(inserts):
    replay = filled_with(inserts, count=3, capacity=12)
    batch = replays.sample(replay, jax.random.split(jax.random.key(inserts), TEACHERS), 500)
    assert batch.reward.shape == (TEACHERS, 500)
    for teacher in range(TEACHERS):
        drawn = np.unique(np.asarray(batch.reward[teacher])) - 100 * teacher
        np.testing.assert_array_equal(drawn, np.sort(stored_numbers(replay)))


def test_samples_are_uniform_and_differ_between_teachers():
    replay = filled_with(inserts=4, count=3, capacity=12)
    batch = replays.sample(replay, jax.random.split(jax.random.key(0), TEACHERS), 24_000)
    drawn = np.asarray(batch.reward, int) % 100
    for numbers in drawn:
        assert stats.chisquare(np.bincount(numbers, minlength=12)).pvalue > 1e-3
    assert np.mean(drawn[0] == drawn[1]) == pytest.approx(1 / 12, abs=0.01)


@pytest.mark.parametrize(
    ("capacity", "transitions", "insert", "rows"),
    [(1000, 96, 16, 96), (1000, 100, 16, 112), (96, 1000, 16, 96), (100, 1000, 16, 112), (5, 5, 1, 5)],
)
def test_rows_are_no_more_than_needed_and_a_whole_number_of_inserts(capacity, transitions, insert, rows):
    assert replays.rows_needed(capacity, transitions, insert) == rows
