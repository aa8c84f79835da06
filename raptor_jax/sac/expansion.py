"""One update of a teacher at a horizon above 0: windows of flight, the actor's gradient through them, the critics."""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import struct

from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.sac import losses, window
from raptor_jax.sac.networks import Parameters, critic_values
from raptor_jax.sac.optimizer import actor_optimizer
from raptor_jax.sac.rollout import learned_penalty
from raptor_jax.sac.teacher import Losses, Teacher, update_alpha, update_critics
from raptor_jax.sac.window import Value, Window
from raptor_jax.simulator.episode import Episode

_MOST_STEPS_AT_ONCE = 32
"""Steps of a window whose values are computed together."""


class Experience(struct.PyTreeNode):
    """Transitions of the windows of one update, [E, H]."""

    observation: jax.Array
    """[E, H, 26]"""
    disturbance: jax.Array
    """[E, 6] external force and torque, observed only by the critics."""
    action: jax.Array
    """[E, H, 4]"""
    target: jax.Array
    """[E, H] regression targets of the critics, in their scale."""
    valid: jax.Array
    """[E, H] bool, False after a termination."""


def update(
    config: Config, updates: jax.Array | int, teacher: Teacher, drones: Drone, episodes: Episode, key: jax.Array
) -> tuple[Teacher, Episode, Window, Losses]:
    """Flies a window in every environment, and updates actor, alpha and critics.

    Args:
        config: settings.
        updates: [] updates of the whole round, over which the actor's learning rate decays to 0 along a cosine.
        teacher: the teacher before.
        drones: one drone, or one for each environment, [E, ...].
        episodes: [E, ...] running episodes.
        key: random key of the update.

    Returns:
        The teacher after the update, the episodes after it, the windows [E, ...], and the losses.
    """
    flight_key, batch_key = jax.random.split(key)
    keys = jax.random.split(flight_key, episodes.length.shape[0])
    drone_axis = 0 if drones.dynamics.mass.ndim else None
    alpha = jnp.exp(teacher.log_alpha)
    future = Value(teacher.actor, teacher.target_critic, alpha)

    def loss(actor: Parameters) -> tuple[jax.Array, tuple[Episode, Window]]:
        fly = jax.vmap(functools.partial(window.fly, config, actor, future), in_axes=(drone_axis, 0, 0))
        objective, flown = fly(drones, episodes, keys)
        # A sum, because the limit of the gradient in a state applies to the return of one window.
        return -jnp.sum(objective), flown

    (total, (following, windows)), gradient = jax.value_and_grad(loss, has_aux=True)(teacher.actor)
    actor_loss, gradient = jax.tree.map(lambda leaf: leaf / (keys.shape[0] * config.sac.horizon), (total, gradient))
    steps, optimizer = actor_optimizer(config.sac, updates).update(gradient, teacher.actor_optimizer)
    experience = _with_targets(config, teacher, windows)
    log_probability = _mean_where(windows.steps.log_probability, experience.valid)
    teacher = update_alpha(config.sac, teacher, log_probability).replace(
        actor=optax.apply_updates(teacher.actor, steps), actor_optimizer=optimizer
    )
    teacher, critic_loss, q_value = _update_critics_on_batches(config, teacher, experience, batch_key)
    report = Losses(
        critic_loss=critic_loss / window.value_scale(config) ** 2,
        actor_loss=actor_loss,
        alpha=jnp.exp(teacher.log_alpha),
        q_value=q_value / window.value_scale(config),
        entropy=-log_probability,
    )
    return teacher, following, windows, report


def _with_targets(config: Config, teacher: Teacher, windows: Window) -> Experience:
    """Returns the windows' transitions with the critics' targets.

    Soft TD(lambda) (Sutton 1988, with the entropy bonus of SAC in each value): from the last step of a window back,
    y_k = r_k + gamma (1 - terminated_k) ((1 - lambda) V_{k+1} + lambda (y_{k+1} - alpha log pi_{k+1})),
    V_k = min_j Q'_j(s_k, a_k) - alpha log pi_k, all of it times (1 - gamma). The last step bootstraps
    fully from the value after it, as a truncated episode does: only a termination ends a return.
    """
    steps = windows.steps

    def values_of_part(first: jax.Array) -> jax.Array:
        part = (steps.observation, steps.action)
        observation, action = (jax.lax.dynamic_slice_in_dim(leaf, first, part_steps, axis=1) for leaf in part)
        disturbance = jnp.broadcast_to(windows.disturbance[:, None], (*observation.shape[:2], 6))
        seen = jnp.concatenate([observation, disturbance], axis=-1)
        return jnp.min(critic_values(config.sac, teacher.target_critic, seen, action), axis=0)

    def following(values: jax.Array, last: jax.Array) -> jax.Array:
        return jnp.concatenate([values[:, 1:], last[:, None]], axis=1)

    horizon = config.sac.horizon
    part_steps = max(steps for steps in range(1, _MOST_STEPS_AT_ONCE + 1) if horizon % steps == 0)
    # [parts, E, steps]: the hidden layers of all steps at once would take most of the memory of a training.
    values = jax.lax.map(values_of_part, jnp.arange(0, horizon, part_steps))
    values = jnp.moveaxis(values, 0, 1).reshape(steps.reward.shape)
    log_probability = following(steps.log_probability, windows.last_log_probability)
    reward = jnp.where(steps.terminated, learned_penalty(config, steps.reward), steps.reward)
    target = losses.lambda_targets(
        config.sac,
        window.value_scale(config) * reward,
        steps.terminated,
        following(values, windows.last_value),
        window.value_scale(config) * -jnp.exp(teacher.log_alpha) * log_probability,
    )
    ended_before = jnp.cumsum(steps.terminated, axis=1) - steps.terminated
    return Experience(steps.observation, windows.disturbance, steps.action, target, ended_before == 0)


def _update_critics_on_batches(
    config: Config, teacher: Teacher, experience: Experience, key: jax.Array
) -> tuple[Teacher, jax.Array, jax.Array]:
    """Updates the critics and their targets on `actor_update_interval` random batches; returns mean loss and value."""
    shape = (config.sac.actor_update_interval, config.sac.critic_batch_size)

    def step(teacher: Teacher, drawn: jax.Array) -> tuple[Teacher, tuple[jax.Array, jax.Array]]:
        row = jnp.divmod(drawn, config.sac.horizon)
        seen = jnp.concatenate([experience.observation[row], experience.disturbance[row[0]]], axis=-1)
        action, target = experience.action[row], experience.target[row]
        weight = experience.valid[row].astype(jnp.float32)

        def loss(critic: Parameters) -> tuple[jax.Array, jax.Array]:
            return losses.critic_loss(config.sac, critic, seen, action, target, weight)

        teacher, value, q_value = update_critics(config.sac, teacher, loss)
        return teacher, (value, q_value)

    teacher, (loss, value) = jax.lax.scan(step, teacher, jax.random.randint(key, shape, 0, experience.target.size))
    return teacher, jnp.mean(loss), jnp.mean(value)


def _mean_where(values: jax.Array, valid: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(valid, values, 0)) / jnp.sum(valid)
