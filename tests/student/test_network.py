"""The student's network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit as sigmoid

from raptor_jax import student

WIDTH = 5


@pytest.fixture(scope="module")
def weights() -> student.Weights:
    return student.create(WIDTH, jax.random.key(0))


def test_the_network_of_the_default_width_is_smaller_than_the_published_one():
    assert student.parameter_count(student.create(16, jax.random.key(0))) == 2036 < 2084


def test_a_step_is_that_of_a_gated_recurrent_unit(weights):
    memory, observation = np.random.default_rng(0).normal(size=WIDTH), np.random.default_rng(1).normal(size=26)
    layers = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), weights["params"])
    features = np.maximum(observation[:22] @ layers["input"]["kernel"] + layers["input"]["bias"], 0)

    def of_features(gate):
        return features @ layers["gru"][gate]["kernel"] + layers["gru"][gate]["bias"]

    r = sigmoid(of_features("ir") + memory @ layers["gru"]["hr"]["kernel"])
    z = sigmoid(of_features("iz") + memory @ layers["gru"]["hz"]["kernel"])
    n = np.tanh(of_features("in") + r * (memory @ layers["gru"]["hn"]["kernel"] + layers["gru"]["hn"]["bias"]))
    expected = (1 - z) * n + z * memory
    found, action = student.act(weights, jnp.asarray(memory, jnp.float32), jnp.asarray(observation, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(action, expected @ layers["output"]["kernel"] + layers["output"]["bias"], atol=1e-6)


def test_the_rotor_states_are_not_seen(weights):
    memory, observation = student.fresh_memory(weights), jnp.arange(26.0)
    other = observation.at[22:].set(-7)
    acted = (student.act(weights, memory, seen) for seen in (observation, other))
    jax.tree.map(np.testing.assert_array_equal, *acted)


def test_what_is_flown_is_clipped(weights):
    large = jax.tree.map(lambda leaf: 100 * leaf, weights)
    memory, observation = student.fresh_memory(weights), jnp.ones(26)
    action = student.act(large, memory, observation)[1]
    assert jnp.max(jnp.abs(action)) > 1
    np.testing.assert_array_equal(student.act_clipped(large, memory, observation)[1], jnp.clip(action, -1, 1))
