"""The optimisers: Adam with RLtools' denominator, and the clipping and learning rate of the actor."""

import jax
import jax.numpy as jnp
import optax
from optax import tree_utils

from raptor_jax.config import SacConfig


def actor_optimizer(config: SacConfig, updates: jax.Array | int) -> optax.GradientTransformation:
    """Returns the actor's optimiser.

    At horizon 0 it is Adam. At a horizon above 0 the gradient is also clipped, because the gradients of neighbouring
    windows differ much in size, and the learning rate decays to 0 along a cosine over `updates`, so that the last
    updates settle.
    """
    if config.horizon == 0:
        return adam(config, config.actor_learning_rate)
    return optax.chain(
        optax.clip_by_global_norm(config.gradient_clip),
        adam(config, cosine_decay(config.actor_learning_rate, updates)),
    )


def cosine_decay(rate: float, updates: jax.Array | int) -> optax.Schedule:
    """Returns a learning rate that decays from `rate` to 0 along half a cosine over `updates`.

    optax's own needs the number of updates at compilation; with this one a compiled program serves rounds of any
    length.
    """

    def at(count: jax.Array) -> jax.Array:
        # Multiplied by the reciprocal, as XLA divides by a constant, for the same bits.
        progress_in_pi = jnp.pi * jnp.minimum(count, updates) * (1 / updates)
        return rate * (0.5 * (1 + jnp.cos(progress_in_pi)))

    return at


def adam(config: SacConfig, learning_rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
    """Returns Adam (Kingma and Ba, 2015) with the denominator sqrt(max(v_hat, floor)) + epsilon.

    The floor limits the step of weights with tiny gradients; optax's own Adam has a sum instead of the maximum.
    """

    def initialise(parameters: optax.Params) -> optax.ScaleByAdamState:
        zeros = tree_utils.tree_zeros_like
        return optax.ScaleByAdamState(jnp.zeros([], jnp.int32), zeros(parameters), zeros(parameters))

    def step(
        gradients: optax.Updates, state: optax.ScaleByAdamState, parameters: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.ScaleByAdamState]:
        del parameters
        count = state.count + 1
        first = tree_utils.tree_update_moment(gradients, state.mu, config.adam_beta1, 1)
        second = tree_utils.tree_update_moment_per_elem_norm(gradients, state.nu, config.adam_beta2, 2)
        # One division for each weight instead of three: on a CPU they are a tenth of the update.
        rate = learning_rate(state.count) if callable(learning_rate) else learning_rate
        step_size = -rate / (1 - config.adam_beta1**count)
        second_correction = 1 / (1 - config.adam_beta2**count)

        def scaled(m: jax.Array, v: jax.Array) -> jax.Array:
            deviation = jnp.sqrt(jnp.maximum(v * second_correction, config.adam_variance_floor))
            return step_size * m / (deviation + config.adam_epsilon)

        return jax.tree.map(scaled, first, second), optax.ScaleByAdamState(count, first, second)

    return optax.GradientTransformation(initialise, step)
