"""Teachers learn through the simulator: one for each drone, and one for many drones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import evaluation
from raptor_jax.config import Config
from raptor_jax.drones.parameters import stack
from raptor_jax.population import sac as population
from raptor_jax.population import warm_start as pooled
from raptor_jax.runs import warm_start
from validation.drones import on_device, sampled_drones

pytestmark = pytest.mark.slow

CONFIG = Config()
UPDATES = 80
"""Of a call, and of a whole training from the packaged start."""


@pytest.fixture(scope="module")
def drones():
    """Four drones, the first of which the packaged start cannot fly."""
    return on_device(stack(sampled_drones(4)))


def evaluate(actors, drones, **how):
    return evaluation.evaluate(CONFIG, actors, drones, 16, evaluation.FINAL, **how)


@pytest.fixture(scope="module")
def untrained(drones):
    """The mean returns of random weights."""
    return evaluate(population.create(CONFIG, drones, jnp.arange(4)).teachers.actor, drones).mean_return


def test_a_few_updates_from_the_packaged_start_make_good_teachers(drones):
    now = population.create(CONFIG, drones, jnp.arange(4), warm_start=warm_start.load(CONFIG))
    now, _ = population.train(CONFIG, now, drones, UPDATES, iterations=UPDATES)
    found = evaluate(now.teachers.actor, drones)
    assert np.all(found.mean_return > CONFIG.training.pass_return)
    assert np.median(found.mean_return) > 350
    assert np.all(found.position_offset < 0.1)


def test_teachers_learn_to_fly_from_random_weights(drones, untrained):
    now = population.create(CONFIG, drones, jnp.arange(4))
    for _ in range(2):
        now, _ = population.train(CONFIG, now, drones, 4 * UPDATES, iterations=UPDATES)
    found, sampled = evaluate(now.teachers.actor, drones), evaluate(now.teachers.actor, drones, sampled=True)
    assert np.all(untrained < -50)
    # Seen: 297, -130, 422, 230; the second drone needs more updates from random weights.
    assert np.sum(found.mean_return > untrained + 80) >= 3
    assert np.median(found.mean_return) > 200
    # The standard deviation is trained: sampled actions cost little.
    assert np.median(sampled.mean_return) > np.median(found.mean_return) - 80


def test_one_policy_learns_to_fly_many_drones(drones, untrained):
    one = pooled.create(CONFIG, drones)
    one, _ = pooled.train(CONFIG, one, drones, iterations=2 * UPDATES)
    actors = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), one.teacher.actor)
    assert np.median(evaluate(actors, drones).mean_return) > np.median(untrained) + 200
