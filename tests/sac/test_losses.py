"""Targets by hand and gradients by finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import sac
from raptor_jax.config import SacConfig
from raptor_jax.sac import losses
from raptor_jax.simulator import ACTION_DIM, OBSERVATION_DIM
from tests.sac.networks import critic_values
from validation.parity.transitions import double_precision

CONFIG = SacConfig(horizon=0, actor_hidden_dim=8, critic_hidden_dim=8)
BATCH = 16
STEP = 1e-6
"""Of the central differences, in float64: their error is about its square, and 1e-16 over it."""


@pytest.fixture(scope="module")
def batch() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "observation": random.normal(size=(BATCH, OBSERVATION_DIM)),
        "action": random.uniform(-1, 1, (BATCH, ACTION_DIM)),
        "target": random.normal(size=BATCH),
        "noise": random.normal(size=(BATCH, ACTION_DIM)),
    }


@pytest.fixture(scope="module")
def teacher(batch) -> sac.Teacher:
    """A teacher in float64 NumPy, which can enter either precision; either of its critics is the smaller somewhere."""
    teacher = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), sac.create(CONFIG, jax.random.key(0)))
    values = critic_values(teacher.critic, batch["observation"], batch["action"])
    teacher.critic["params"]["mlp"]["output"]["bias"] -= values.mean(axis=1)[:, None]
    return teacher


def assert_gradient_is_the_slope(loss, parameters) -> None:
    """Compares the gradient with central differences along a random direction of each array of the parameters."""
    leaves, structure = jax.tree.flatten(parameters)
    random = np.random.default_rng(0)
    with double_precision():
        compiled = jax.jit(lambda *values: loss(jax.tree.unflatten(structure, values)))
        gradients = jax.grad(lambda values: compiled(*values))([jnp.asarray(leaf) for leaf in leaves])
        for i, leaf in enumerate(leaves):
            direction = random.normal(size=np.shape(leaf))
            ahead, behind = (
                compiled(*leaves[:i], leaf + sign * STEP * direction, *leaves[i + 1 :]) for sign in (1, -1)
            )
            slope = (float(ahead) - float(behind)) / (2 * STEP)
            assert np.sum(np.asarray(gradients[i]) * direction) == pytest.approx(slope, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        # 0.9 * 10, and 0.5 * 2 of bonus or, for a likely action, -0.5 * 4; the terminated one keeps the bonus.
        ("reference", [1 + 9 + 1, -100 + 1, 1 + 9 - 2]),
        # 0.9 * (10 + 0.5 * 2), and 0.9 * (10 - 0.5 * 4); the terminated one is its reward alone.
        ("textbook", [1 + 9.9, -100, 1 + 7.2]),
    ],
)
def test_target_of_a_truncated_a_terminated_and_a_likely_transition(form, expected):
    target = losses.bellman_target(
        SacConfig(gamma=0.9, soft_target=form),
        reward=jnp.array([1.0, -100.0, 1.0]),
        terminated=jnp.array([0.0, 1.0, 0.0]),
        next_value=jnp.full(3, 10.0),
        next_log_probability=jnp.array([-2.0, -2.0, 4.0]),
        alpha=jnp.float32(0.5),
    )
    np.testing.assert_allclose(target, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("td_lambda", "terminated", "expected"),
    [
        # gamma 0.5; rewards 1 2 3, the value after each step 10 20 40, the bonus 2 everywhere.
        # Last step: 3 + 0.5 (40 + 2); the one before: 2 + 0.5 (20 + 2); the first: 1 + 0.5 (10 + 2).
        (0.0, [False, False, False], [7.0, 13.0, 24.0]),
        # 3 + 0.5 (40 + 2) = 24; 2 + 0.5 (24 + 2) = 15; 1 + 0.5 (15 + 2) = 9.5.
        (1.0, [False, False, False], [9.5, 15.0, 24.0]),
        # 2 + 0.5 ((20 + 24) / 2 + 2) = 14; 1 + 0.5 ((10 + 14) / 2 + 2) = 8.
        (0.5, [False, False, False], [8.0, 14.0, 24.0]),
        # The second step has its reward alone, whatever is flown on beyond it; 1 + 0.5 (2 + 2) = 3.
        (1.0, [False, True, False], [3.0, 2.0, 24.0]),
    ],
)
def test_the_soft_targets_of_a_window_bootstrap_at_its_end_and_not_at_a_termination(td_lambda, terminated, expected):
    targets = losses.lambda_targets(
        SacConfig(gamma=0.5, td_lambda=td_lambda),
        reward=jnp.array([1.0, 2.0, 3.0]),
        terminated=jnp.array(terminated),
        next_value=jnp.array([10.0, 20.0, 40.0]),
        next_bonus=jnp.full(3, 2.0),
    )
    np.testing.assert_allclose(targets, expected, rtol=1e-6)


def test_critic_loss_is_half_the_mean_squared_error_of_both(teacher, batch):
    observation, action, target = batch["observation"], batch["action"], batch["target"]
    loss, value = losses.critic_loss(CONFIG, teacher.critic, observation, action, target)
    values = critic_values(teacher.critic, observation, action)
    np.testing.assert_allclose(loss, 0.5 * np.mean((values - target) ** 2, axis=1).sum(), rtol=1e-5)
    np.testing.assert_allclose(value, values.mean(), atol=1e-6)


def test_actor_loss_is_entropy_cost_less_the_smaller_value(teacher, batch):
    observation, noise, alpha = batch["observation"], batch["noise"], 0.3
    loss, mean_log_probability = losses.actor_loss(CONFIG, teacher.actor, teacher.critic, alpha, observation, noise)
    action, log_probability = (np.asarray(x) for x in sac.sample_action(CONFIG, teacher.actor, observation, noise))
    values = critic_values(teacher.critic, observation, action)
    assert np.any(values[0] < values[1])
    assert np.any(values[0] > values[1])
    np.testing.assert_allclose(loss, np.mean(alpha * log_probability - values.min(axis=0)), rtol=1e-5)
    np.testing.assert_allclose(mean_log_probability, log_probability.mean(), rtol=1e-5)


def test_critic_gradient(teacher, batch):
    def loss(critic):
        return losses.critic_loss(CONFIG, critic, batch["observation"], batch["action"], batch["target"])[0]

    assert_gradient_is_the_slope(loss, teacher.critic)


def test_actor_gradient_goes_through_the_action_and_its_log_probability(teacher, batch):
    def loss(actor):
        # Closed-over NumPy arrays trip JAX up, where a function with a gradient of its own is vmapped inside jit.
        critic = jax.tree.map(jnp.asarray, teacher.critic)
        return losses.actor_loss(CONFIG, actor, critic, 0.3, batch["observation"], batch["noise"])[0]

    assert_gradient_is_the_slope(loss, teacher.actor)


@pytest.mark.parametrize(("log_probability", "expected"), [(-3.0, 3.5), (5.0, -0.5)])
def test_alpha_gradient_is_alpha_times_the_excess_of_entropy(log_probability, expected):
    config = SacConfig(target_entropy=-4.0)
    gradient = jax.grad(losses.alpha_loss, argnums=1)(config, jnp.log(0.5), log_probability)
    assert gradient == pytest.approx(expected)
