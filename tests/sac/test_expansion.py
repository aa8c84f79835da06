"""An update on windows: the critics' targets by hand, and what moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import sac
from raptor_jax.config import Config, SacConfig
from raptor_jax.sac import expansion, losses
from raptor_jax.simulator import episode
from tests.sac.networks import constant_critic
from validation.drones import on_device, replaced, sampled_drones

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

ENVIRONMENTS, HORIZON, UPDATES = 3, 4, 10
CONFIG = Config.model_validate(
    {
        "environment": {"episode_steps": 50, "environments_per_teacher": ENVIRONMENTS},
        "sac": {
            "actor_hidden_dim": 8,
            "critic_hidden_dim": 8,
            "horizon": HORIZON,
            "critic_batch_size": 8,
            "actor_batch_size": 8,
        },
    }
)


@jax.jit
def _updated(teacher, drone, key):
    episodes = jax.vmap(episode.start, in_axes=(None, 0))(drone, jax.random.split(jax.random.key(5), ENVIRONMENTS))
    return sac.update_on_windows(CONFIG, UPDATES, teacher, drone, episodes, key)


def updated(teacher, drone, key=0):
    """Returns the teacher after one update, the episodes after it, the windows, and the report."""
    return _updated(teacher, drone, jax.random.key(key))


@pytest.fixture(scope="module")
def drone():
    return on_device(sampled_drones(1)[0])


@pytest.fixture(scope="module")
def teacher():
    return sac.create(CONFIG.sac, jax.random.key(1))


@pytest.mark.parametrize(
    ("td_lambda", "expected"),
    [
        # gamma 0.5; rewards 1 2 3, the value after each step 10 20 40, the bonus 2 everywhere.
        # Last step: 3 + 0.5 (40 + 2); the one before: 2 + 0.5 (20 + 2); the first: 1 + 0.5 (10 + 2).
        (0.0, [7.0, 13.0, 24.0]),
        # 3 + 0.5 (40 + 2) = 24; 2 + 0.5 (24 + 2) = 15; 1 + 0.5 (15 + 2) = 9.5.
        (1.0, [9.5, 15.0, 24.0]),
        # 2 + 0.5 ((20 + 24) / 2 + 2) = 14; 1 + 0.5 ((10 + 14) / 2 + 2) = 8.
        (0.5, [8.0, 14.0, 24.0]),
    ],
)
def test_the_soft_targets_of_a_window_bootstrap_at_its_end(td_lambda, expected):
    targets = losses.lambda_targets(
        SacConfig(gamma=0.5, td_lambda=td_lambda),
        reward=jnp.array([1.0, 2.0, 3.0]),
        terminated=jnp.zeros(3, bool),
        next_value=jnp.array([10.0, 20.0, 40.0]),
        next_bonus=jnp.full(3, 2.0),
    )
    np.testing.assert_allclose(targets, expected, rtol=1e-6)


def test_nothing_comes_after_a_termination():
    targets = losses.lambda_targets(
        SacConfig(gamma=0.5, td_lambda=1.0),
        reward=jnp.array([1.0, -100.0, 3.0]),
        terminated=jnp.array([False, True, False]),
        next_value=jnp.full(3, 10.0),
        next_bonus=jnp.full(3, 2.0),
    )
    # The second step has its penalty alone, whatever is flown on beyond it.
    np.testing.assert_allclose(targets[:2], [1 + 0.5 * (-100 + 2), -100], rtol=1e-6)


def test_one_step_targets_are_the_bellman_target_of_plain_sac():
    random = np.random.default_rng(0)
    reward, value, log_probability = (jnp.asarray(random.normal(size=5)) for _ in range(3))
    config = SacConfig(soft_target="textbook", td_lambda=0.0)
    ended = jnp.array([0.0, 1.0, 0.0, 0.0, 0.0])
    expected = losses.bellman_target(config, reward, ended, value, log_probability, jnp.float32(0.3))
    found = losses.lambda_targets(config, reward, ended > 0, value, -0.3 * log_probability)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_steps_after_a_termination_do_not_train_the_critics(teacher):
    drone = sampled_drones(1)[0]
    crashing = on_device(replaced(drone, mdp__termination__angular_velocity_threshold=1e-3))
    teacher = teacher.replace(target_critic=constant_critic(CONFIG.sac, (5.0, 5.0)))
    _, episodes, windows, _ = updated(teacher, crashing)
    experience = expansion._with_targets(CONFIG, teacher, windows)
    np.testing.assert_array_equal(experience.valid, [[True] + [False] * (HORIZON - 1)] * ENVIRONMENTS)
    # In the critics' scale the penalty of -500 is -5.
    np.testing.assert_allclose(experience.target[:, 0], -5.0, rtol=1e-4)
    np.testing.assert_array_equal(episodes.length, 0)


def test_everything_that_learns_moves_and_the_targets_follow(teacher, drone):
    after, _, _, report = updated(teacher, drone)
    for name in ("actor", "critic", "target_critic", "log_alpha"):
        for old, new in zip(
            jax.tree.leaves(getattr(teacher, name)), jax.tree.leaves(getattr(after, name)), strict=True
        ):
            assert np.any(np.asarray(old) != np.asarray(new))
    assert after.critic_optimizer.count == CONFIG.sac.actor_update_interval
    assert all(np.isfinite(value) for value in vars(report).values())
    assert report.alpha == pytest.approx(float(jnp.exp(after.log_alpha)))


def test_the_last_update_of_a_run_no_longer_moves_the_actor(teacher, drone):
    after = teacher
    for update in range(UPDATES + 1):
        before, (after, *_) = after, updated(after, drone, update)
    jax.tree.map(np.testing.assert_array_equal, before.actor, after.actor)
    assert np.any(np.asarray(before.log_alpha) != np.asarray(after.log_alpha))
