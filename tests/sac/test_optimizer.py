"""Adam against the formula and against optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from raptor_jax.config import SacConfig
from raptor_jax.sac.optimizer import adam, cosine_decay

RATE = 1e-3
STEPS = 20
MAGNITUDES = np.array([1.0, 1e-2, 1e-4, 1e-6, 1e-9])
"""Gradients above and below the floor's root, 3.2e-4."""


@pytest.fixture
def gradients() -> np.ndarray:
    return (np.random.default_rng(0).normal(1, 0.5, (STEPS, len(MAGNITUDES))) * MAGNITUDES).astype(np.float32)


def run(optimizer: optax.GradientTransformation, gradients: np.ndarray) -> np.ndarray:
    """Returns the optimiser's step after each of the gradients."""
    state = optimizer.init({"weights": jnp.zeros(gradients.shape[1])})
    steps = []
    for gradient in gradients:
        step, state = jax.jit(optimizer.update)({"weights": jnp.asarray(gradient)}, state)
        steps.append(step["weights"])
    return np.array(steps)


def adam_by_hand(config: SacConfig, gradients: np.ndarray) -> np.ndarray:
    first = second = np.zeros(gradients.shape[1])
    steps = []
    for count, gradient in enumerate(gradients.astype(np.float64), start=1):
        first = config.adam_beta1 * first + (1 - config.adam_beta1) * gradient
        second = config.adam_beta2 * second + (1 - config.adam_beta2) * gradient**2
        first_hat, second_hat = first / (1 - config.adam_beta1**count), second / (1 - config.adam_beta2**count)
        floored = np.maximum(second_hat, config.adam_variance_floor)
        steps.append(-RATE * first_hat / (np.sqrt(floored) + config.adam_epsilon))
    return np.array(steps)


@pytest.mark.parametrize(("floor", "epsilon"), [(1e-7, 1e-7), (0.0, 1e-5), (1e-3, 0.0)])
def test_steps_follow_the_formula(gradients, floor, epsilon):
    config = SacConfig(adam_variance_floor=floor, adam_epsilon=epsilon)
    np.testing.assert_allclose(run(adam(config, RATE), gradients), adam_by_hand(config, gradients), rtol=2e-4)


def test_without_a_floor_it_is_optax_adam(gradients):
    config = SacConfig(adam_variance_floor=0.0, adam_epsilon=1e-8)
    reference = optax.adam(RATE, b1=config.adam_beta1, b2=config.adam_beta2, eps=1e-8)
    np.testing.assert_allclose(run(adam(config, RATE), gradients), run(reference, gradients), rtol=1e-5)


@pytest.mark.parametrize("updates", [1, 7, 400, 3200])
def test_the_rate_falls_like_that_of_optax_to_the_last_bit(updates):
    counts = jnp.arange(updates + 2)
    expected = jax.jit(optax.cosine_decay_schedule(RATE, updates))(counts)
    found = jax.jit(lambda counts, updates: cosine_decay(RATE, updates)(counts))(counts, updates)
    np.testing.assert_array_equal(found, expected)


def test_floor_shrinks_the_steps_of_tiny_gradients_only(gradients):
    floor = 1e-7
    first = np.abs(run(adam(SacConfig(adam_variance_floor=floor, adam_epsilon=1e-7), RATE), gradients))[0]
    np.testing.assert_allclose(first[:2], RATE, rtol=1e-3)
    np.testing.assert_allclose(first[3:], RATE * np.abs(gradients[0, 3:]) / floor**0.5, rtol=1e-3)
