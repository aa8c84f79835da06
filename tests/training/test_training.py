"""SAC learns: a sign error anywhere between reward and weights would leave the teachers crashing."""

import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import evaluation
from raptor_jax.config import Config
from raptor_jax.drones.parameters import stack
from raptor_jax.population import sac as population
from validation.drones import on_device, replaced, sampled_drones

pytestmark = pytest.mark.slow

CONFIG = Config.model_validate(
    {
        "environment": {"environments_per_teacher": 8, "episode_steps": 100},
        "sac": {
            "horizon": 0,
            "actor_hidden_dim": 32,
            "critic_hidden_dim": 32,
            "critic_batch_size": 64,
            "actor_batch_size": 64,
            "gamma": 0.97,
            "tau": 0.02,
            "target_entropy": -2.0,
            "initial_alpha": 0.2,
            "actor_learning_rate": 1e-3,
            "critic_learning_rate": 1e-3,
            "alpha_learning_rate": 1e-3,
            "actor_update_interval": 2,
            "replay_capacity": 150_000,
        },
        "training": {"steps_per_teacher": 150_000},
    }
)
WARMUP_ITERATIONS = 100
CHUNK_ITERATIONS = 500
CHUNKS = 12
EPISODES = 32
FAST_ROTORS = np.full(4, 0.03)
"""s; the drone is easy, and within tight limits a crash is one soon."""


def test_teachers_learn_to_stay_in_the_air():
    drone = replaced(
        sampled_drones(1)[0],
        disturbances__random_force__std=0.0,
        dynamics__rotor_time_constants_rising=FAST_ROTORS,
        dynamics__rotor_time_constants_falling=FAST_ROTORS,
        mdp__termination__position_threshold=1.5,
    )
    drones = on_device(stack([drone] * 2))
    now = population.create(CONFIG, drones, jnp.arange(2))
    before = evaluation.evaluate(CONFIG, now.teachers.actor, drones, EPISODES, evaluation.FINAL)
    now, _ = population.collect(CONFIG, now, drones, iterations=WARMUP_ITERATIONS)
    for _ in range(CHUNKS):
        now, metrics = population.train(CONFIG, now, drones, iterations=CHUNK_ITERATIONS)
    after = evaluation.evaluate(CONFIG, now.teachers.actor, drones, EPISODES, evaluation.FINAL)
    # Seen: from about -90, most episodes crashing, to +20, hardly any.
    assert np.all(before.mean_return < -50)
    assert np.all(after.mean_return > before.mean_return + 60)
    assert np.all(after.mean_return > -20)
    assert np.all(after.share_terminated < 0.25)
    assert np.all(after.final_position_error < before.final_position_error - 0.5)
    # The temperature falls as the policy nears the target entropy, and the values follow the discounted rewards.
    assert np.all(metrics.alpha < 0.5 * CONFIG.sac.initial_alpha)
    assert np.all(np.abs(metrics.q_value) < 100 / (1 - CONFIG.sac.gamma))
