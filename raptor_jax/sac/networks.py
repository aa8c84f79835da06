"""The actor and the twin critics, and the squashed Gaussian policy."""

import functools
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from raptor_jax.config import SacConfig
from raptor_jax.simulator import ACTION_DIM, OBSERVATION_DIM
from raptor_jax.simulator.compiler import computed_once

Parameters = Any
"""A network's weights: nested dictionaries of arrays."""


class _Dense(nn.Module):
    """A dense layer with weights and biases drawn from U(+-1/sqrt(fan_in)), as in RLtools."""

    features: int
    precision: str

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        fan_in = inputs.shape[-1]

        def uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
            return jax.random.uniform(key, shape, minval=-(fan_in**-0.5), maxval=fan_in**-0.5)

        kernel = self.param("kernel", uniform, (fan_in, self.features))
        bias = self.param("bias", uniform, (self.features,))
        return _affine(self.precision, inputs, kernel, bias)


_MANTISSA_BITS = {"tensorfloat32": 10, "bfloat16": 7}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _affine(precision: str, inputs: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """Returns inputs [..., I] @ kernel [I, O] + bias [O]."""
    product = _product(precision, inputs, kernel, (-1, 0))
    return product + jnp.broadcast_to(bias, product.shape)


def _affine_forward(
    precision: str, inputs: jax.Array, kernel: jax.Array, bias: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _affine(precision, inputs, kernel, bias), (inputs, kernel)


def _affine_backward(
    precision: str, saved: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    # With JAX's own rule the kernel's gradient is transposed, [O, I]; transposing it back in each of Adam's passes over
    # the weights took a sixth of the whole update on XLA:CPU.
    inputs, kernel = saved
    rows = tuple(range(inputs.ndim - 1))
    kernel_gradient = _product(precision, inputs, cotangent, (rows, rows))
    input_gradient = _product(precision, cotangent, computed_once(kernel.T), (-1, 0))
    return input_gradient, kernel_gradient, cotangent.sum(axis=rows)


_affine.defvjp(_affine_forward, _affine_backward)


def _product(precision: str, a: jax.Array, b: jax.Array, axes: tuple[Any, Any]) -> jax.Array:
    """Returns a product whose factors are rounded to the precision, and whose sums are float32."""
    if precision == "float32":
        return jnp.tensordot(a, b, axes, precision=precision)

    def rounded(a: jax.Array, b: jax.Array) -> jax.Array:
        # XLA:CPU has neither product; this one has the same factors, so that a setting means the same everywhere.
        a, b = (jax.lax.reduce_precision(factor, 8, _MANTISSA_BITS[precision]) for factor in (a, b))
        return jnp.tensordot(a, b, axes, precision="float32")

    def native(a: jax.Array, b: jax.Array) -> jax.Array:
        if precision == "bfloat16":
            # JAX's precision of that name only permits the rounding.
            return jnp.tensordot(a.astype(precision), b.astype(precision), axes, preferred_element_type=a.dtype)
        return jnp.tensordot(a, b, axes, precision=precision)

    return jax.lax.platform_dependent(a, b, cpu=rounded, default=native)


class _Mlp(nn.Module):
    """Two hidden layers with ReLU and a linear output."""

    hidden_dim: int
    output_dim: int
    precision: str

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        hidden = nn.relu(_Dense(self.hidden_dim, self.precision, name="hidden_0")(inputs))
        hidden = nn.relu(_Dense(self.hidden_dim, self.precision, name="hidden_1")(hidden))
        return _Dense(self.output_dim, self.precision, name="output")(hidden)


class Actor(nn.Module):
    """Observation [..., 26] -> [..., 8]: mean and log standard deviation [..., 4] of the action before squashing."""

    config: SacConfig

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        """Returns the mean, followed by the log standard deviation, which is not clipped yet."""
        widths = (self.config.actor_hidden_dim, 2 * ACTION_DIM)
        return _Mlp(*widths, self.config.matmul_precision, name="mlp")(observation)


def critic_observation_dim(config: SacConfig) -> int:
    """Returns the size of the critics' observation; at a horizon above 0 it includes external force and torque."""
    return OBSERVATION_DIM if config.horizon == 0 else OBSERVATION_DIM + 6


class TwinCritic(nn.Module):
    """The critics' observation [..., 26 or 32] and action [..., 4] -> the two critics' values [2, ...].

    Both critics are one network with a leading axis of 2 on every weight, so that a layer is one batched product.
    """

    config: SacConfig

    @nn.compact
    def __call__(self, observation: jax.Array, action: jax.Array) -> jax.Array:
        """Returns the values of both critics."""
        # One product for both critics needs their weights transposed, which takes longer than it saves at horizon 0.
        own_product = self.config.horizon == 0
        axis = 0 if own_product else None
        twin = nn.vmap(_Mlp, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=axis, axis_size=2)
        inputs = jnp.concatenate([observation, action], axis=-1)
        if own_product:
            inputs = jnp.broadcast_to(inputs, (2, *inputs.shape))
        values = twin(self.config.critic_hidden_dim, 1, self.config.matmul_precision, name="mlp")(inputs)
        return values.squeeze(-1)


def sample_action(
    config: SacConfig, actor: Parameters, observation: jax.Array, noise: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Draws an action from the policy.

    Args:
        config: widths and clips.
        actor: the actor's weights.
        observation: [..., 26].
        noise: [..., 4] standard normal draws.

    Returns:
        The action tanh(mean + std * noise) [..., 4], and its log-probability [...] with the Jacobian of tanh
        (appendix C of the SAC paper).
    """
    mean, log_std = jnp.split(policy(config, actor, observation), 2, axis=-1)
    action, log_density = squash(config, mean, log_std, noise)
    return action, jnp.sum(log_density, axis=-1)


def policy(config: SacConfig, actor: Parameters, observation: jax.Array) -> jax.Array:
    """Returns mean and log standard deviation of the policy [..., 8], as `Actor` does."""
    return cast(jax.Array, Actor(config).apply(actor, observation))


def squash(config: SacConfig, mean: jax.Array, log_std: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns each entry of the action, tanh(mean + std * noise), and its log-density; arrays of any one shape."""
    log_std = jnp.clip(log_std, config.log_std_min, config.log_std_max)
    action = jnp.tanh(mean + jnp.exp(log_std) * noise)
    gaussian = -0.5 * noise**2 - log_std - 0.5 * jnp.log(2 * jnp.pi)
    return action, gaussian - jnp.log(1 - action**2 + config.log_probability_epsilon)


def critic_values(config: SacConfig, critic: Parameters, observation: jax.Array, action: jax.Array) -> jax.Array:
    """Returns the values [2, ...] of both critics for an action [..., 4] at their observation [..., 26 or 32]."""
    return cast(jax.Array, TwinCritic(config).apply(critic, observation, action))


def deterministic_action(config: SacConfig, actor: Parameters, observation: jax.Array) -> jax.Array:
    """Returns tanh of the policy's mean, [..., 4]: the action in evaluations."""
    return jnp.tanh(policy(config, actor, observation)[..., :ACTION_DIM])
