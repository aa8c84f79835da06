"""One teacher: its networks, optimisers and temperature, and the update that improves them."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import optax
from flax import struct

from raptor_jax.config import SacConfig
from raptor_jax.sac import losses
from raptor_jax.sac.networks import (
    Actor,
    Parameters,
    TwinCritic,
    critic_observation_dim,
    critic_values,
    sample_action,
)
from raptor_jax.sac.optimizer import actor_optimizer, adam
from raptor_jax.simulator import ACTION_DIM, OBSERVATION_DIM


class Teacher(struct.PyTreeNode):
    """Everything that learns."""

    actor: Parameters
    critic: Parameters
    target_critic: Parameters
    log_alpha: jax.Array
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    alpha_optimizer: optax.OptState


class Transition(struct.PyTreeNode):
    """A batch of experience, [B] transitions."""

    observation: jax.Array
    """[B, 26]"""
    action: jax.Array
    """[B, 4]"""
    reward: jax.Array
    """[B]"""
    terminated: jax.Array
    """[B] 1 if the step terminated the episode; 0 also if it was truncated."""
    next_observation: jax.Array
    """[B, 26] observation after the step; at the end of an episode, that before it (see `replay`)."""


class Losses(struct.PyTreeNode):
    """The losses and statistics of an update, each []."""

    critic_loss: jax.Array
    actor_loss: jax.Array
    alpha: jax.Array
    """After the update."""
    q_value: jax.Array
    entropy: jax.Array
    """Mean of -log pi."""


def create(
    config: SacConfig,
    key: jax.Array,
    actor: Parameters | None = None,
    critic: Parameters | None = None,
    alpha: jax.Array | None = None,
) -> Teacher:
    """Returns a teacher before its first update; networks that are not given are random, alpha [] is as configured."""
    actor_key, critic_key = jax.random.split(key)
    observation, action = jnp.zeros((1, OBSERVATION_DIM)), jnp.zeros((1, ACTION_DIM))
    actor = Actor(config).init(actor_key, observation) if actor is None else actor
    if critic is None:
        critic = TwinCritic(config).init(critic_key, jnp.zeros((1, critic_observation_dim(config))), action)
    log_alpha = jnp.log(jnp.float32(config.initial_alpha) if alpha is None else alpha)
    return Teacher(
        actor=actor,
        critic=critic,
        # Copies: two names of one array could not both be donated.
        target_critic=jax.tree.map(jnp.copy, critic),
        log_alpha=log_alpha,
        # The length of the schedule does not affect the initial state.
        actor_optimizer=actor_optimizer(config, updates=1).init(actor),
        critic_optimizer=adam(config, config.critic_learning_rate).init(critic),
        alpha_optimizer=adam(config, config.alpha_learning_rate).init(log_alpha),
    )


def update(
    config: SacConfig, teacher: Teacher, batch: Transition, key: jax.Array, with_actor: bool
) -> tuple[Teacher, Losses]:
    """Updates the critics and their targets and then, if requested, the actor and alpha, on one batch.

    Args:
        config: the algorithm's settings.
        teacher: the teacher before the update.
        batch: B = critic_batch_size transitions; the actor uses the first actor_batch_size.
        key: random key of the two noise draws.
        with_actor: whether actor and alpha are also updated; otherwise actor_loss and entropy are NaN.
    """
    chex.assert_shape(batch.observation, (config.critic_batch_size, OBSERVATION_DIM))
    chex.assert_shape(batch.action, (config.critic_batch_size, ACTION_DIM))
    chex.assert_shape((batch.reward, batch.terminated), (config.critic_batch_size,))
    critic_key, actor_key = jax.random.split(key)
    teacher, critic_loss, q_value = _update_critics_on_batch(config, teacher, batch, critic_key)
    actor_loss = log_probability = jnp.full_like(critic_loss, jnp.nan)
    if with_actor:
        observation = batch.observation[: config.actor_batch_size]
        teacher, actor_loss, log_probability = _update_actor(config, teacher, observation, actor_key)
    return teacher, Losses(critic_loss, actor_loss, jnp.exp(teacher.log_alpha), q_value, -log_probability)


def update_alpha(config: SacConfig, teacher: Teacher, log_probability: jax.Array) -> Teacher:
    """Moves alpha towards the target entropy; log_probability: [] mean under the policy."""
    gradient = jax.grad(losses.alpha_loss, argnums=1)(config, teacher.log_alpha, log_probability)
    step, optimizer = adam(config, config.alpha_learning_rate).update(gradient, teacher.alpha_optimizer)
    return teacher.replace(log_alpha=teacher.log_alpha + step, alpha_optimizer=optimizer)


def update_critics(
    config: SacConfig, teacher: Teacher, loss: Callable[[Parameters], tuple[jax.Array, jax.Array]]
) -> tuple[Teacher, jax.Array, jax.Array]:
    """Takes a step of Adam along the gradient of a loss, and moves the target critics after the critics.

    Args:
        config: learning rate and Polyak rate.
        teacher: the teacher before the step.
        loss: function of the critics' weights; returns the loss [] and the critics' mean value [].

    Returns:
        The teacher after the step, the loss, and the mean value.
    """
    (value, q_value), gradient = jax.value_and_grad(loss, has_aux=True)(teacher.critic)
    steps, optimizer = adam(config, config.critic_learning_rate).update(gradient, teacher.critic_optimizer)
    critic = optax.apply_updates(teacher.critic, steps)
    target_critic = optax.incremental_update(critic, teacher.target_critic, config.tau)
    teacher = teacher.replace(critic=critic, target_critic=target_critic, critic_optimizer=optimizer)
    return teacher, value, q_value


def _update_critics_on_batch(
    config: SacConfig, teacher: Teacher, batch: Transition, key: jax.Array
) -> tuple[Teacher, jax.Array, jax.Array]:
    noise = jax.random.normal(key, batch.action.shape, batch.action.dtype)
    next_action, next_log_probability = sample_action(config, teacher.actor, batch.next_observation, noise)
    next_values = critic_values(config, teacher.target_critic, batch.next_observation, next_action)
    target = losses.bellman_target(
        config,
        batch.reward,
        batch.terminated,
        jnp.min(next_values, axis=0),
        next_log_probability,
        jnp.exp(teacher.log_alpha),
    )

    def loss(critic: Parameters) -> tuple[jax.Array, jax.Array]:
        return losses.critic_loss(config, critic, batch.observation, batch.action, target)

    return update_critics(config, teacher, loss)


def _update_actor(
    config: SacConfig, teacher: Teacher, observation: jax.Array, key: jax.Array
) -> tuple[Teacher, jax.Array, jax.Array]:
    noise = jax.random.normal(key, (observation.shape[0], ACTION_DIM), observation.dtype)
    alpha = jnp.exp(teacher.log_alpha)

    def loss(actor: Parameters) -> tuple[jax.Array, jax.Array]:
        return losses.actor_loss(config, actor, teacher.critic, alpha, observation, noise)

    (value, log_probability), gradient = jax.value_and_grad(loss, has_aux=True)(teacher.actor)
    steps, optimizer = adam(config, config.actor_learning_rate).update(gradient, teacher.actor_optimizer)
    teacher = update_alpha(config, teacher, log_probability)
    return (
        teacher.replace(actor=optax.apply_updates(teacher.actor, steps), actor_optimizer=optimizer),
        value,
        log_probability,
    )
