"""A population that learns through the simulator: teachers are independent, even of one that diverges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import sac
from raptor_jax.population import expansion
from raptor_jax.population import sac as population
from raptor_jax.sac.window import Step, Window
from validation.drones import take

# Which teacher has which numbers is tested; that they fly is in tests/training.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

IDS = (7, 3, 5)
CHUNKS, ITERATIONS = 2, 2
FAULTY, OTHERS = 1, [0, 2]


@pytest.fixture(scope="module")
def config(tiny_config):
    return tiny_config.model_copy(
        update={
            "sac": tiny_config.sac.model_copy(update={"horizon": 7}),
            "training": tiny_config.training.model_copy(update={"steps_per_teacher": 14 * CHUNKS * ITERATIONS}),
        }
    )


def trained(config, drones, ids=IDS, now=None):
    now = population.create(config, drones, jnp.asarray(ids)) if now is None else now
    for _ in range(CHUNKS):
        now, _ = population.train(config, now, drones, iterations=ITERATIONS)
    return now


def of(now, teachers):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[teachers], (now.teachers, now.episodes))


@pytest.fixture(scope="module")
def reference(config, drones):
    return trained(config, drones)


def assert_close(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4), a, b)


@pytest.mark.slow
def test_a_teacher_alone_is_the_same_as_among_others(config, drones, reference):
    for row, identity in enumerate(IDS):
        alone = trained(config, take(drones, [row]), (identity,))
        assert_close(of(alone, [0]), of(reference, [row]))


def test_identities_seeds_and_attempts_draw_differently(config, drones):
    def episodes(ids, attempt=0, seed=0):
        seeded = config.model_copy(update={"training": config.training.model_copy(update={"seed": seed})})
        return np.asarray(population.create(seeded, drones, jnp.asarray(ids), attempt=attempt).episodes.observation)

    draws = [episodes(IDS), episodes((1, 2, 4)), episodes(IDS, attempt=1), episodes(IDS, seed=1)]
    for i, first in enumerate(draws):
        for second in draws[i + 1 :]:
            assert np.all(np.any(first != second, axis=(1, 2)))


def test_every_teacher_begins_with_the_start(config, drones):
    start = sac.create(config.sac, jax.random.key(9)).actor
    now = population.create(config, drones, jnp.asarray(IDS), warm_start=start)
    jax.tree.map(lambda leaf, one: np.testing.assert_array_equal(leaf, [one] * 3), now.teachers.actor, start)


def test_episodes_begin_with_different_lengths(config, drones):
    environment = config.environment.model_copy(update={"environments_per_teacher": 64})
    many = config.model_copy(update={"environment": environment})
    ages = np.asarray(population.create(many, drones, jnp.asarray(IDS)).episodes.length)
    assert set(ages.ravel()) == set(range(config.environment.episode_steps))


def test_updates_are_counted_and_training_compiles_once(config, drones):
    now = population.create(config, drones, jnp.asarray(IDS))
    before = population.train._cache_size()
    now = trained(config, drones, now=now)
    assert now.updates == CHUNKS * ITERATIONS == expansion.total_updates(config)
    assert population.train._cache_size() - before <= 1
    plan = population.schedule(config)
    assert plan.total_steps == config.training.steps_per_teacher
    assert plan.warmup_steps == 0


def test_metrics_are_reported_for_every_teacher(config, drones):
    now = population.create(config, drones, jnp.asarray(IDS))
    _, metrics = population.train(config, now, drones, iterations=ITERATIONS)
    for name, value in vars(metrics).items():
        assert value.shape == (3,)
        assert np.all(np.isfinite(value)), name
    assert np.all(metrics.episode_reward <= config.environment.episode_steps)
    assert np.all(metrics.episode_length <= config.environment.episode_steps)


def broken_weights(now, drones):
    weights = jax.tree.map(lambda leaf: leaf.at[FAULTY].set(jnp.nan), now.teachers.actor)
    return now.replace(teachers=now.teachers.replace(actor=weights)), drones


def broken_drone(now, drones):
    mass = drones.dynamics.mass.at[FAULTY].set(jnp.nan)
    return now, drones.replace(dynamics=drones.dynamics.replace(mass=mass))


@pytest.mark.parametrize("fault", [broken_weights, broken_drone])
def test_a_broken_teacher_is_frozen_and_the_others_are_unchanged(config, drones, reference, fault):
    start, faulty = fault(population.create(config, drones, jnp.asarray(IDS)), drones)
    before = of(start, [FAULTY])
    after = trained(config, faulty, now=start)
    np.testing.assert_array_equal(after.active, [True, False, True])
    jax.tree.map(np.testing.assert_array_equal, of(after, [FAULTY]), before)
    jax.tree.map(np.testing.assert_array_equal, of(after, OTHERS), of(reference, OTHERS))


def test_an_episode_counts_up_to_its_length_or_its_termination(config):
    length = config.environment.episode_steps
    # Windows of four steps: one that crosses the length, one that terminates, one that goes on.
    lengths = jnp.array([[length - 1, length, length + 1, length + 2], [1, 2, 3, 4], [1, 2, 3, 4]])
    ended = jnp.zeros((3, 4), bool).at[1, 2].set(True)
    rewards = jnp.arange(12.0).reshape(3, 4)
    absent = jnp.zeros((3, 4))
    steps = Step(absent, absent, absent, absent, ended, lengths, rewards)
    windows = Window(jax.tree.map(lambda leaf: leaf[None], steps), absent, absent, absent)
    found = expansion.finished(config, windows)
    assert (found.episodes, found.reward, found.length) == (2, 1 + 6, length + 3)
