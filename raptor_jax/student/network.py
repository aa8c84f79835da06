"""The student's network: that of RAPTOR's published foundation policy (Eschmann et al. 2025).

A dense layer with ReLU, a gated recurrent unit (Cho et al. 2014), and a linear layer. At a width of 16 it has 2036
parameters; the published one has 2084, because RLtools also trains the initial memory and two redundant biases.
"""

from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from raptor_jax.simulator import ACTION_DIM, WITHOUT_ROTORS

INPUTS = WITHOUT_ROTORS
"""The student observes what a teacher does, except for the rotor states."""

Weights = Any
"""The network's weights: {params: {input, gru, output}}, nested dictionaries of arrays as flax makes them."""


class _Network(nn.Module):
    """Memory [..., W] and observation [..., 22] -> the next memory [..., W] and the action [..., 4]."""

    width: int

    @nn.compact
    def __call__(self, memory: jax.Array, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        features = nn.relu(nn.Dense(self.width, name="input")(observation))
        memory, output = nn.GRUCell(self.width, name="gru")(memory, features)
        return memory, nn.Dense(ACTION_DIM, name="output")(output)


def create(width: int, key: jax.Array) -> Weights:
    """Returns random weights of a student of this width."""
    return _Network(width).init(key, jnp.zeros(width), jnp.zeros(INPUTS))


def act(weights: Weights, memory: jax.Array, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Takes one step of the policy.

    Args:
        weights: weights of the network.
        memory: [..., W].
        observation: [..., 22 or more], of which the first 22 numbers are used.

    Returns:
        The next memory [..., W], and the action [..., 4], which may lie outside of [-1, 1].
    """
    network = _Network(memory.shape[-1])
    return cast(tuple[jax.Array, jax.Array], network.apply(weights, memory, observation[..., :INPUTS]))


def act_clipped(weights: Weights, memory: jax.Array, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
    """As `act`, with the action clipped to [-1, 1], as an autopilot applies it and feeds it back as previous action."""
    memory, action = act(weights, memory, observation)
    return memory, jnp.clip(action, -1, 1)


def fresh_memory(weights: Weights) -> jax.Array:
    """Returns the memory [W] at the beginning of an episode, which is 0."""
    return jnp.zeros_like(weights["params"]["input"]["bias"])


def parameter_count(weights: Weights) -> int:
    """Returns the number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(weights))
