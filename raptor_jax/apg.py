"""One actor, improved by the analytic gradient of its return: backpropagation through policy, simulator and reward.

The simulator is differentiable, so a window of flight gives the exact gradient of its rewards with respect to the
actor's weights; SAC has to learn that gradient with a critic. Windows are short, because the gradient of a long flight
through an unstable vehicle explodes (Xu et al. 2022, "Accelerated Policy Learning with Parallel Differentiable
Simulation"; here without its critic). The actor is SAC's own, and flies its mean action.

Termination has no gradient. Within a window a flight goes on beyond its limits, and each reward counts by a smooth
probability of having survived so far, which falls as the greatest `limit_ratio` of the window passes 1.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.dynamics.parameters import Drone
from raptor_jax.simulator import alive_reward, episode, limit_ratio
from raptor_jax.simulator.episode import Episode

_LOST = 10.0
"""Survival widths beyond its limits at which a flight is over for all purposes: it has survived with 5e-5."""


class Learner(struct.PyTreeNode):
    """Everything that learns."""

    actor: sac.Parameters
    optimizer: optax.OptState


class WindowMetrics(struct.PyTreeNode):
    """What an update reports, each []."""

    step_reward: jax.Array
    """Mean over all steps, without termination penalties and not weighted."""
    share_terminated: jax.Array
    """Share of the windows that left their limits."""
    gradient_norm: jax.Array
    """Of the gradient of the mean weighted reward of a step, before it is clipped."""


def create(config: Config, updates: int, actor: sac.Parameters) -> Learner:
    """Returns a learner that begins with the weights of an actor; `updates` as of `improve`."""
    return Learner(actor, _optimizer(config, updates).init(actor))


def improve(
    config: Config, updates: int, learner: Learner, drones: Drone, episodes: Episode, key: jax.Array
) -> tuple[Learner, Episode, WindowMetrics]:
    """Flies a window in every environment and takes one step of Adam along the gradient.

    Args:
        config: settings.
        updates: updates of the whole run, over which the learning rate falls to 0 along a cosine.
        learner: the learner before.
        drones: one drone, or one for each environment, [E, ...].
        episodes: [E, ...] running episodes.
        key: random key of the window.

    Returns:
        The learner after, the episodes after, and what the window says.
    """
    environments = episodes.length.shape[0]
    keys = jax.random.split(key, environments)
    drone_axis = 0 if drones.dynamics.mass.ndim else None

    def loss(actor: sac.Parameters) -> tuple[jax.Array, Any]:
        fly = jax.vmap(functools.partial(_fly_window, config, actor), in_axes=(drone_axis, 0, 0))
        returns, flown = fly(drones, episodes, keys)
        return -jnp.sum(returns), flown

    gradient, (following, terminated, step_rewards) = jax.grad(loss, has_aux=True)(learner.actor)
    gradient = jax.tree.map(lambda leaf: leaf / (environments * config.apg.horizon), gradient)
    steps, optimizer = _optimizer(config, updates).update(gradient, learner.optimizer)
    report = WindowMetrics(jnp.mean(step_rewards), jnp.mean(terminated), _norm(gradient))
    return Learner(optax.apply_updates(learner.actor, steps), optimizer), following, report


def _optimizer(config: Config, updates: int) -> optax.GradientTransformation:
    # The gradients of neighbouring windows differ much in size, hence the short memory of the second moment.
    return optax.chain(
        optax.clip_by_global_norm(config.apg.gradient_clip),
        optax.adam(optax.cosine_decay_schedule(config.apg.learning_rate, updates), b2=0.99),
    )


def _fly_window(
    config: Config, actor: sac.Parameters, drone: Drone, start: Episode, key: jax.Array
) -> tuple[jax.Array, tuple[Episode, jax.Array, jax.Array]]:
    """Flies one window of one episode.

    Returns:
        Its discounted return [], weighted by survival, and: the episode to go on with, a fresh one if this one left its
        limits or is over; whether it left them; the mean reward of its steps.
    """
    fresh_key, flight_key = jax.random.split(key)

    def fly(
        carry: tuple[Episode, jax.Array], inputs: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[Episode, jax.Array], tuple[jax.Array, jax.Array, jax.Array]]:
        (now, nearest), (step_key, discount) = carry, inputs
        action = sac.deterministic_action(config.sac, actor, now.observation)
        outcome = episode.advance(drone, now, action, config.environment.episode_steps, step_key)
        gained = alive_reward(drone, now.state, action, outcome.episode.state)
        # Far beyond its limits a flight stays where it is: rates without bounds would overflow.
        lost = nearest > 1 + _LOST * config.apg.survival_width
        held = jax.tree.map(lambda old, new: jnp.where(lost, old, new), now, outcome.episode)
        following = _with_limited_gradient(config, held)
        nearest_after = jnp.maximum(nearest, limit_ratio(drone, outcome.episode.state))
        before, after = _survival(config, nearest), _survival(config, nearest_after)
        weighted = after * gained + (before - after) * drone.mdp.reward.termination_penalty
        return (following, nearest_after), (discount * weighted, gained, outcome.terminated)

    discounts = config.apg.gamma ** jnp.arange(config.apg.horizon)
    steps = (jax.random.split(flight_key, config.apg.horizon), discounts)
    (last, _), (rewards, gained, terminated) = jax.lax.scan(fly, (start, jnp.zeros(())), steps)
    left = jnp.any(terminated)
    over = left | (last.length >= config.environment.episode_steps)
    fresh = episode.start(drone, fresh_key)
    following = jax.tree.map(lambda new, old: jnp.where(over, new, old), fresh, last)
    return jnp.sum(rewards), (following, left, jnp.mean(gained))


def _survival(config: Config, nearest: jax.Array) -> jax.Array:
    """Returns the smooth probability that a flight has survived whose greatest `limit_ratio` so far is `nearest`."""
    return jax.nn.sigmoid((1 - nearest) / config.apg.survival_width)


def _with_limited_gradient(config: Config, now: Episode) -> Episode:
    """Limits the gradient that flows back through all that the next step depends on.

    What stays the same in a flight (force and torque) is left out: its gradient, summed over all later steps, leads
    nowhere, and would take up the whole limit for a light vehicle.
    """
    state = now.state
    moving, observation = _limit_gradient(
        config.apg.state_gradient_limit, (state.replace(force=None, torque=None, target=None), now.observation)
    )
    moving = moving.replace(force=state.force, torque=state.torque, target=state.target)
    return now.replace(state=moving, observation=observation)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _limit_gradient(limit: float, state: Any) -> Any:
    """Returns the state as it is; the gradient that flows back through it is cut to the norm `limit`.

    A tumbling vehicle amplifies gradients beyond all bounds, and one such flight would drown the others; one that is
    not finite counts as 0.
    """
    del limit
    return state


def _limit_gradient_forward(limit: float, state: Any) -> tuple[Any, None]:
    del limit
    return state, None


def _limit_gradient_backward(limit: float, _: None, gradient: Any) -> tuple[Any]:
    norm = _norm(gradient)
    finite = jnp.isfinite(norm)
    factor = jnp.minimum(1, limit / jnp.maximum(norm, limit))

    return (jax.tree.map(lambda leaf: jnp.where(finite, leaf * factor, 0), gradient),)


_limit_gradient.defvjp(_limit_gradient_forward, _limit_gradient_backward)


def _norm(tree: Any) -> jax.Array:
    """Returns the Euclidean norm [] of all leaves together."""
    return jnp.sqrt(jnp.sum(jnp.stack([jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)])))
