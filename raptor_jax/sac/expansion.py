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
from raptor_jax.sac.optimizer import actor_optimizer, adam
from raptor_jax.sac.teacher import Losses, Teacher, update_alpha
from raptor_jax.sac.window import Value, Window
from raptor_jax.simulator.episode import Episode


class Experience(struct.PyTreeNode):
    """Transitions of the windows of one update, [E, H]."""

    observation: jax.Array
    """[E, H, 32] what the critics see."""
    action: jax.Array
    """[E, H, 4]"""
    target: jax.Array
    """[E, H] what the critics should say, in their own scale."""
    valid: jax.Array
    """[E, H] bool, False after a termination."""


def update(
    config: Config, updates: int, teacher: Teacher, drones: Drone, episodes: Episode, key: jax.Array
) -> tuple[Teacher, Episode, Window, Losses]:
    """Flies a window in every environment, and improves actor, alpha and critics.

    Args:
        config: settings.
        updates: updates of the whole run, over which the actor's learning rate falls to 0 along a cosine.
        teacher: the teacher before.
        drones: one drone, or one for each environment, [E, ...].
        episodes: [E, ...] running episodes.
        key: random key of the update.

    Returns:
        The teacher after, the episodes after, the windows [E, ...], and what the update reports.
    """
    flight_key, batch_key = jax.random.split(key)
    keys = jax.random.split(flight_key, episodes.length.shape[0])
    drone_axis = 0 if drones.dynamics.mass.ndim else None
    alpha = jnp.exp(teacher.log_alpha)
    future = Value(teacher.actor, teacher.target_critic, alpha)

    def loss(actor: Parameters) -> tuple[jax.Array, tuple[Episode, Window]]:
        fly = jax.vmap(functools.partial(window.fly, config, actor, future), in_axes=(drone_axis, 0, 0))
        worth, flown = fly(drones, episodes, keys)
        # A sum: the limit of the gradient in a state is that of one window's return.
        return -jnp.sum(worth), flown

    (total, (following, windows)), gradient = jax.value_and_grad(loss, has_aux=True)(teacher.actor)
    actor_loss, gradient = jax.tree.map(lambda leaf: leaf / (keys.shape[0] * config.sac.horizon), (total, gradient))
    steps, optimizer = actor_optimizer(config.sac, updates).update(gradient, teacher.actor_optimizer)
    experience = _with_targets(config, teacher, windows)
    log_probability = _mean_where(windows.steps.log_probability, experience.valid)
    teacher = update_alpha(config.sac, teacher, log_probability).replace(
        actor=optax.apply_updates(teacher.actor, steps), actor_optimizer=optimizer
    )
    teacher, critic_loss, q_value = _update_critics(config, teacher, experience, batch_key)
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
    V_k = min_j Q'_j(s_k, a_k) - alpha log pi_k, all of it times (1 - gamma). The last step has the value after it in
    full, as a truncated episode has: only a termination ends the returns.
    """
    steps = windows.steps
    disturbances = jnp.broadcast_to(windows.disturbance[:, None], (*steps.reward.shape, 6))
    observation = jnp.concatenate([steps.observation, disturbances], axis=-1)
    last_observation = jnp.concatenate([windows.last_observation, windows.disturbance], axis=-1)

    def shifted(values: jax.Array, last: jax.Array) -> jax.Array:
        return jnp.concatenate([values[:, 1:], last[:, None]], axis=1)

    following = shifted(observation, last_observation)
    next_action = shifted(steps.action, windows.last_action)
    values = critic_values(config.sac, teacher.target_critic, following, next_action)
    bonus = -jnp.exp(teacher.log_alpha) * shifted(steps.log_probability, windows.last_log_probability)
    target = losses.lambda_targets(
        config.sac,
        window.value_scale(config) * steps.reward,
        steps.terminated,
        jnp.min(values, axis=0),
        window.value_scale(config) * bonus,
    )
    ended_before = jnp.cumsum(steps.terminated, axis=1) - steps.terminated
    return Experience(observation, steps.action, target, ended_before == 0)


def _update_critics(
    config: Config, teacher: Teacher, experience: Experience, key: jax.Array
) -> tuple[Teacher, jax.Array, jax.Array]:
    """Improves the critics and their targets on `actor_update_interval` random batches; returns mean loss and value."""
    rows: Experience = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), experience)
    shape = (config.sac.actor_update_interval, config.sac.critic_batch_size)
    optimizer = adam(config.sac, config.sac.critic_learning_rate)

    def step(teacher: Teacher, drawn: jax.Array) -> tuple[Teacher, tuple[jax.Array, jax.Array]]:
        batch: Experience = jax.tree.map(lambda leaf: leaf[drawn], rows)

        def loss(critic: Parameters) -> tuple[jax.Array, jax.Array]:
            return losses.critic_loss(
                config.sac, critic, batch.observation, batch.action, batch.target, batch.valid.astype(jnp.float32)
            )

        report, gradient = jax.value_and_grad(loss, has_aux=True)(teacher.critic)
        steps, state = optimizer.update(gradient, teacher.critic_optimizer)
        critic = optax.apply_updates(teacher.critic, steps)
        target = optax.incremental_update(critic, teacher.target_critic, config.sac.tau)
        return teacher.replace(critic=critic, target_critic=target, critic_optimizer=state), report

    teacher, (loss, value) = jax.lax.scan(step, teacher, jax.random.randint(key, shape, 0, rows.target.shape[0]))
    return teacher, jnp.mean(loss), jnp.mean(value)


def _mean_where(values: jax.Array, valid: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(valid, values, 0)) / jnp.sum(valid)
