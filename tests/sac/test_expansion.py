"""An update on windows: what the critics learn from, and what moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.sac import expansion
from raptor_jax.simulator import episode
from tests.sac.networks import assert_moved, constant_critic
from validation.drones import on_device, replaced, sampled_drones

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

ENVIRONMENTS, HORIZON, UPDATES = 3, 4, 10
CONFIG = Config.model_validate(
    {
        "environment": {"episode_steps": 50, "environments_per_teacher": ENVIRONMENTS},
        "sac": {"horizon": HORIZON}
        | dict.fromkeys(("actor_hidden_dim", "critic_hidden_dim", "critic_batch_size", "actor_batch_size"), 8),
    }
)


@jax.jit
def updated(teacher, drone, key=0):
    """Returns the teacher after one update, the episodes after it, the windows, and the report."""
    episodes = jax.vmap(episode.start, in_axes=(None, 0))(drone, jax.random.split(jax.random.key(5), ENVIRONMENTS))
    return sac.update_on_windows(CONFIG, UPDATES, teacher, drone, episodes, jax.random.key(key))


@pytest.fixture(scope="module")
def drone():
    return on_device(sampled_drones(1)[0])


@pytest.fixture(scope="module")
def teacher():
    return sac.create(CONFIG.sac, jax.random.key(1))


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
        assert_moved(getattr(teacher, name), getattr(after, name))
    assert after.critic_optimizer.count == CONFIG.sac.actor_update_interval
    assert all(np.isfinite(value) for value in vars(report).values())
    assert report.alpha == pytest.approx(float(jnp.exp(after.log_alpha)))


def test_the_last_update_of_a_run_no_longer_moves_the_actor(teacher, drone):
    after = teacher
    for update in range(UPDATES + 1):
        before, (after, *_) = after, updated(after, drone, update)
    jax.tree.map(np.testing.assert_array_equal, before.actor, after.actor)
    assert_moved(before.log_alpha, after.log_alpha)
