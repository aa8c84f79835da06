"""The three losses of SAC and the Bellman target."""

import jax
import jax.numpy as jnp

from raptor_jax.config import SacConfig
from raptor_jax.sac.networks import Parameters, critic_values, sample_action


def bellman_target(
    config: SacConfig,
    reward: jax.Array,
    terminated: jax.Array,
    next_value: jax.Array,
    next_log_probability: jax.Array,
    alpha: jax.Array,
) -> jax.Array:
    """Returns the critics' regression target, all arrays [B].

    `reference` (RLtools): r + gamma (1 - terminated) min Q' - alpha log pi, whose last term is always there;
    `textbook` (equation 3 of the SAC paper): r + gamma (1 - terminated) (min Q' - alpha log pi).
    A truncated episode is not terminated, so it bootstraps.

    Args:
        config: gamma and the form of the entropy term.
        reward: r.
        terminated: 1 where the next state ended the episode, else 0.
        next_value: the smaller of the two target critics at the next state and a fresh action.
        next_log_probability: log-probability of that action.
        alpha: [] entropy weight.
    """
    bonus = -alpha * next_log_probability
    alive = config.gamma * (1 - terminated)
    if config.soft_target == "textbook":
        return reward + alive * (next_value + bonus)
    return reward + alive * next_value + bonus


def critic_loss(
    config: SacConfig, critic: Parameters, observation: jax.Array, action: jax.Array, target: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the sum over both critics of half the mean squared error [], and their mean value []."""
    values = critic_values(config, critic, observation, action)
    return 0.5 * jnp.sum(jnp.mean((values - target[None]) ** 2, axis=-1)), jnp.mean(values)


def actor_loss(
    config: SacConfig, actor: Parameters, critic: Parameters, alpha: jax.Array, observation: jax.Array, noise: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the mean of alpha log pi - min Q [], and the mean log-probability []."""
    action, log_probability = sample_action(config, actor, observation, noise)
    value = jnp.min(critic_values(config, critic, observation, action), axis=0)
    return jnp.mean(alpha * log_probability - value), jnp.mean(log_probability)


def alpha_loss(config: SacConfig, log_alpha: jax.Array, log_probability: jax.Array) -> jax.Array:
    """Returns -alpha (mean log pi + target entropy) [] (equation 18 of the SAC paper)."""
    return -jnp.exp(log_alpha) * (log_probability + config.target_entropy)
