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

    `reference` (RLtools): r + gamma (1 - terminated) min Q' - alpha log pi, whose last term is never masked;
    `textbook` (equations 2 and 3 of the SAC paper): r + gamma (1 - terminated) (min Q' - alpha log pi).
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


def lambda_targets(
    config: SacConfig, reward: jax.Array, terminated: jax.Array, next_value: jax.Array, next_bonus: jax.Array
) -> jax.Array:
    """Returns the critics' regression targets over windows of consecutive steps, all arrays [..., H].

    y_k = r_k + gamma (1 - terminated_k) ((1 - lambda) Q_{k+1} + lambda y_{k+1} + b_{k+1}); beyond the window's end
    y_H is Q_H. The bonus b is the entropy's, -alpha log pi (textbook form of `bellman_target`).

    Args:
        config: gamma and td_lambda.
        reward: r_k.
        terminated: bool, where the step ended its episode.
        next_value: Q_{k+1}, the smaller of the two target critics after the step.
        next_bonus: b_{k+1}.
    """

    def backwards(after: jax.Array, step: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        reward, terminated, value, bonus = step
        mixed = (1 - config.td_lambda) * value + config.td_lambda * after
        target = reward + config.gamma * (1 - terminated) * (mixed + bonus)
        return target, target

    steps = [jnp.moveaxis(values, -1, 0) for values in (reward, terminated, next_value, next_bonus)]
    _, targets = jax.lax.scan(backwards, next_value[..., -1], tuple(steps), reverse=True)
    return jnp.moveaxis(targets, 0, -1)


def critic_loss(
    config: SacConfig,
    critic: Parameters,
    observation: jax.Array,
    action: jax.Array,
    target: jax.Array,
    weight: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Returns the sum over both critics of half the mean squared error [], and their mean value [].

    All arrays [B, ...]. If weights are given, each error is multiplied by its own, and the mean value is weighted.
    """
    values = critic_values(config, critic, observation, action)
    square = (values - target[None]) ** 2
    if weight is None:
        return 0.5 * jnp.sum(jnp.mean(square, axis=-1)), jnp.mean(values)
    loss = 0.5 * jnp.sum(jnp.mean(weight[None] * square, axis=-1))
    return loss, jnp.sum(weight[None] * values) / (values.shape[0] * jnp.sum(weight))


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
