"""Initial weights, forward passes and the squashed Gaussian."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from raptor_jax import sac
from raptor_jax.config import SacConfig
from raptor_jax.sac.networks import Actor, TwinCritic, _affine
from raptor_jax.simulator import ACTION_DIM, OBSERVATION_DIM
from tests.sac.networks import actor_output, constant_actor, critic_values
from validation.parity.transitions import double_precision

CONFIG = SacConfig(horizon=0, actor_hidden_dim=16, critic_hidden_dim=32)
LEAST_P_VALUE = 1e-3
EXACT = CONFIG.model_copy(update={"log_probability_epsilon": 1e-30})
"""The log-probability without its guard against saturation."""


@pytest.fixture(scope="module")
def teacher() -> sac.Teacher:
    return sac.create(CONFIG, jax.random.key(1))


@pytest.fixture(scope="module")
def observation() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(32, OBSERVATION_DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def action() -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (32, ACTION_DIM)).astype(np.float32)


def sample_in_double(actor: sac.Parameters, observation: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, ...]:
    """Returns actions and their log-probabilities without the guard against saturation, in float64."""
    with double_precision():
        given = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (actor, observation, noise))
        return tuple(map(np.asarray, sac.sample_action(EXACT, *given)))


@pytest.mark.parametrize("network", ["actor", "critic"])
@pytest.mark.parametrize("layer", ["hidden_0", "hidden_1", "output"])
def test_initial_weights_are_uniform_within_the_root_of_the_fan_in(teacher, network, layer):
    weights = getattr(teacher, network)["params"]["mlp"][layer]
    bound = weights["kernel"].shape[-2] ** -0.5
    law = stats.uniform(-bound, 2 * bound)
    for values in weights.values():
        values = np.asarray(values, np.float64).ravel()
        assert np.abs(values).max() <= bound
        assert stats.kstest(values, law.cdf).pvalue > LEAST_P_VALUE
    assert np.abs(weights["kernel"]).max() > 0.9 * bound


def test_layers_have_the_reference_shapes(teacher):
    def shapes(network):
        return {name: layer["kernel"].shape for name, layer in network["params"]["mlp"].items()}

    assert shapes(teacher.actor) == {"hidden_0": (26, 16), "hidden_1": (16, 16), "output": (16, 8)}
    assert shapes(teacher.critic) == {"hidden_0": (2, 30, 32), "hidden_1": (2, 32, 32), "output": (2, 32, 1)}


def test_twin_critics_differ(teacher):
    for leaf in jax.tree.leaves(teacher.critic):
        assert np.all(leaf[0] != leaf[1])


def test_teachers_with_other_keys_differ(teacher):
    other = sac.create(CONFIG, jax.random.key(2))
    for a, b in zip(jax.tree.leaves(teacher.actor), jax.tree.leaves(other.actor), strict=True):
        assert np.all(a != b)


def test_target_starts_as_a_copy_of_the_critic_in_another_buffer(teacher):
    for a, b in zip(jax.tree.leaves(teacher.critic), jax.tree.leaves(teacher.target_critic), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.unsafe_buffer_pointer() != b.unsafe_buffer_pointer()


def test_actor_is_a_relu_network(teacher, observation):
    mean, log_std = np.split(Actor(CONFIG).apply(teacher.actor, observation), 2, axis=-1)
    expected_mean, expected_log_std = actor_output(teacher.actor, observation)
    np.testing.assert_allclose(mean, expected_mean, atol=1e-6)
    np.testing.assert_allclose(log_std, expected_log_std, atol=1e-6)
    action = sac.deterministic_action(CONFIG, teacher.actor, observation)
    np.testing.assert_allclose(action, np.tanh(expected_mean), atol=1e-6)


def test_critics_are_relu_networks_of_observation_and_action(teacher, observation, action):
    values = TwinCritic(CONFIG).apply(teacher.critic, observation, action)
    np.testing.assert_allclose(values, critic_values(teacher.critic, observation, action), atol=1e-6)


@pytest.mark.parametrize(("raw", "clipped"), [(5.0, 2.0), (-30.0, -20.0), (0.5, 0.5)])
def test_log_std_is_clipped(observation, raw, clipped):
    noise = np.full((len(observation), ACTION_DIM), 0.1 / np.exp(clipped))
    action, _ = sac.sample_action(CONFIG, constant_actor(CONFIG, 0.0, raw), observation, noise)
    np.testing.assert_allclose(action, np.tanh(0.1), rtol=1e-5)


def test_log_probability_is_the_gaussians_through_the_change_of_variables(teacher, observation):
    noise = np.random.default_rng(2).normal(size=(len(observation), ACTION_DIM))
    action, log_probability = sample_in_double(teacher.actor, observation, noise)
    mean, log_std = actor_output(teacher.actor, observation)
    before_squashing = np.arctanh(action)
    np.testing.assert_allclose(before_squashing, mean + np.exp(log_std) * noise, atol=1e-6)
    density = stats.norm(mean, np.exp(log_std)).logpdf(before_squashing) - np.log(1 - action**2)
    np.testing.assert_allclose(log_probability, density.sum(axis=-1), atol=1e-6)


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.8, -1.0), (-0.5, -0.3)])
def test_density_of_one_action_integrates_to_one(mean, log_std):
    grid = np.linspace(-1, 1, 20_001)[1:-1]
    noise = np.repeat(((np.arctanh(grid) - mean) / np.exp(log_std))[:, None], ACTION_DIM, axis=1)
    actor = constant_actor(EXACT, mean, log_std)
    action, log_probability = sample_in_double(actor, np.zeros((len(grid), OBSERVATION_DIM)), noise)
    np.testing.assert_allclose(action[:, 0], grid, atol=1e-6)
    # Four equal and independent actions: a quarter of the joint log-density is one's own.
    assert integrate.trapezoid(np.exp(log_probability / ACTION_DIM), grid) == pytest.approx(1, abs=1e-4)


def test_log_probability_of_saturated_actions_is_finite():
    action, log_probability = sac.sample_action(
        CONFIG, constant_actor(CONFIG, 30.0, 0.0), jnp.zeros((1, OBSERVATION_DIM)), jnp.zeros((1, ACTION_DIM))
    )
    np.testing.assert_array_equal(action, np.ones((1, ACTION_DIM)))
    expected = ACTION_DIM * (stats.norm.logpdf(0) - np.log(CONFIG.log_probability_epsilon))
    np.testing.assert_allclose(log_probability, [expected], rtol=1e-5)


def rounded(values: np.ndarray, mantissa_bits: int) -> np.ndarray:
    """Returns float32 numbers rounded, half to even, to so many bits behind the leading one."""
    dropped = 23 - mantissa_bits
    bits = values.view(np.uint32).astype(np.uint64)
    half_to_even = (1 << (dropped - 1)) - 1 + (bits >> dropped & 1)
    return (bits + half_to_even >> dropped << dropped).astype(np.uint32).view(np.float32).astype(np.float64)


@pytest.mark.parametrize(("precision", "mantissa_bits"), [("tensorfloat32", 10), ("bfloat16", 7)])
def test_a_precision_rounds_the_factors_and_sums_in_float32(precision, mantissa_bits):
    random = np.random.default_rng(2)
    inputs, kernel = random.normal(size=(7, 512)).astype(np.float32), random.normal(size=(512, 3)).astype(np.float32)
    bias, cotangent = np.ones(3, np.float32), random.normal(size=(7, 3)).astype(np.float32)
    found, gradients = jax.vjp(functools.partial(_affine, precision), *map(jnp.asarray, (inputs, kernel, bias)))
    x, k, c = (rounded(factor, mantissa_bits) for factor in (inputs, kernel, cotangent))
    np.testing.assert_allclose(found, x @ k + bias, rtol=1e-4, atol=1e-4)
    assert np.abs(found - (inputs @ kernel + bias)).max() > 0.1 * 2.0**-mantissa_bits
    expected = c @ k.T, x.T @ c, cotangent.sum(axis=0)
    for gradient, value in zip(gradients(jnp.asarray(cotangent)), expected, strict=True):
        np.testing.assert_allclose(gradient, value, rtol=1e-4, atol=1e-4)
