"""A window of flight: the part of SAC's actor objective that is known, because the simulator can be differentiated.

One window of H steps in one environment is worth

    J = sum_{k<H} gamma^k (r_k - alpha log pi(a_k|s_k)) + gamma^H (min_j Q'_j(s_H, a_H) - alpha log pi(a_H|s_H)),

the H-step value expansion SVG(H) (Heess et al. 2015) of the soft value (Haarnoja et al. 2018). Actions are drawn by
reparameterisation, so that the gradient of J goes through policy, simulator and reward, and beyond the window through
the target critics. The action a_H is that of a frozen actor.

Termination has no gradient. A window therefore flies on beyond its limits, and each reward counts by a smooth
probability of having survived so far, which falls as the greatest `limit_ratio` of the window passes 1. It is relative
to the probability at the window's start.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.sac.networks import Parameters, critic_values, log_probability, sample_action, squashed_sample
from raptor_jax.simulator import ACTION_DIM, Noise, State, alive_reward, draw_noise, episode, limit_ratio
from raptor_jax.simulator.compiler import kept_together
from raptor_jax.simulator.episode import Episode
from raptor_jax.simulator.vector import scalars

_LOST = 10.0
"""Survival widths beyond its limits at which a flight is over for all purposes: it has survived with 5e-5."""

_ANGULAR_ACCELERATION = 10.0
"""rad/s^2 that count as 1 where the critics see the external torque."""


class Step(struct.PyTreeNode):
    """A step of a window, or with a leading axis [H] all of them. No gradient goes through it."""

    observation: jax.Array
    """[26] before the step."""
    action: jax.Array
    """[4] drawn from the policy there."""
    log_probability: jax.Array
    """[] of that action."""
    reward: jax.Array
    """[] of the task, with the penalty at a termination."""
    terminated: jax.Array
    """[] bool, the step left the limits."""
    length: jax.Array
    """[] int32, steps of the episode after it."""
    total_reward: jax.Array
    """[] of the episode after it."""


class Window(struct.PyTreeNode):
    """A flown window."""

    steps: Step
    """Every array [H, ...]. What follows a termination belongs to no episode."""
    last_observation: jax.Array
    """[26] of s_H."""
    last_action: jax.Array
    """[4] a_H."""
    last_log_probability: jax.Array
    """[] of a_H."""
    disturbance: jax.Array
    """[6] what the critics see beside the observation, the same throughout an episode: see `disturbance`."""


class Value(NamedTuple):
    """What the future after a window is worth: frozen networks, and the entropy weight."""

    actor: Parameters
    target_critic: Parameters
    alpha: jax.Array
    """[]"""


class _Now(NamedTuple):
    """Where a window stands."""

    episode: Episode
    nearest: jax.Array
    """[] greatest `limit_ratio` of the window so far."""


class _Flown(NamedTuple):
    """What a step brings, all []."""

    weighted_reward: jax.Array
    """Reward and penalty, weighted by the probability of having survived so far."""
    survived: jax.Array
    """That probability before the step."""
    reward: jax.Array
    terminated: jax.Array
    length: jax.Array
    total_reward: jax.Array


def value_scale(config: Config) -> float:
    """Returns what the critics' values are multiplied by: with (1 - gamma) they are as large as rewards."""
    return 1 - config.sac.gamma


def disturbance(drone: Drone, state: State) -> jax.Array:
    """Returns the external force and torque of an episode as the critics see them [6].

    The force as a share of the weight, the torque as the angular acceleration that it causes, in 10 rad/s^2. The actor
    sees neither, but the return depends on them (asymmetric actor-critic, Pinto et al. 2018).
    """
    dynamics = drone.dynamics
    force = state.force / (dynamics.mass * jnp.linalg.norm(dynamics.gravity))
    return jnp.concatenate([force, dynamics.J_inv @ state.torque / _ANGULAR_ACCELERATION])


def fly(
    config: Config, actor: Parameters, future: Value, drone: Drone, start: Episode, key: jax.Array
) -> tuple[jax.Array, tuple[Episode, Window]]:
    """Flies one window of one episode.

    Args:
        config: settings.
        actor: the weights that the gradient is of.
        future: what comes after the window is worth.
        drone: one drone.
        start: a running episode.
        key: random key of the window.

    Returns:
        J [], and: the episode to continue with, a fresh one if this one terminated or reached its length; the window.
    """
    fresh_key, noise_key, flight_key = jax.random.split(key, 3)
    horizon, gamma = config.sac.horizon, config.sac.gamma
    noise = jax.random.normal(noise_key, (horizon + 1, ACTION_DIM), start.observation.dtype)

    take_step = kept_together(functools.partial(_take_step, config))

    # What a step computes is computed again for its gradient: to store it costs more, in kernels and in memory.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def step(now: _Now, inputs: tuple[Noise, jax.Array]) -> tuple[_Now, tuple[_Flown, jax.Array, jax.Array, jax.Array]]:
        step_noise, action_noise = inputs
        observation = now.episode.observation
        action, log_std = squashed_sample(config.sac, actor, observation, action_noise)
        following, flown = take_step(drone, now, action, step_noise)
        return following, (flown, jax.lax.stop_gradient(observation), action, log_std)

    first = _Now(start, limit_ratio(drone, start.state))
    last, (flown, observation, action, log_std) = jax.lax.scan(
        step, first, (draw_noise(drone, flight_key, horizon), noise[:-1])
    )
    log_pi = log_probability(config.sac, log_std, noise[:-1], action)
    steps = Step(
        observation=observation,
        action=action,
        log_probability=log_pi,
        reward=flown.reward,
        terminated=flown.terminated,
        length=flown.length,
        total_reward=flown.total_reward,
    )
    window, value = _evaluate_end(config, future, drone, last.episode, steps, noise[-1])
    terminated = jnp.any(flown.terminated)
    soft_rewards = flown.weighted_reward - flown.survived * future.alpha * log_pi
    after = gamma**horizon * _survival(config, last.nearest) * ~terminated * value
    at_start = _survival(config, first.nearest)
    worth = (jnp.sum(gamma ** jnp.arange(horizon) * soft_rewards) + after) / at_start
    over = terminated | (last.episode.length >= config.environment.episode_steps)
    fresh = episode.start(drone, fresh_key)
    return worth, (jax.tree.map(lambda new, old: jnp.where(over, new, old), fresh, last.episode), window)


def _take_step(config: Config, drone: Drone, now: _Now, action: jax.Array, noise: Noise) -> tuple[_Now, _Flown]:
    """Takes one step of a window: all of it but the network, which gives the action [4]."""
    outcome = episode.advance(drone, now.episode, action, config.environment.episode_steps, noise)
    gained = alive_reward(drone, now.episode.state, action, outcome.episode.state)
    # Far beyond its limits a flight stays where it is: rates without bounds would overflow.
    lost = now.nearest > 1 + _LOST * config.sac.survival_width
    held = jax.tree.map(lambda old, new: jnp.where(lost, old, new), now.episode, outcome.episode)
    nearest = jnp.maximum(now.nearest, limit_ratio(drone, outcome.episode.state))
    before, after = _survival(config, now.nearest), _survival(config, nearest)
    flown = _Flown(
        weighted_reward=after * gained + (before - after) * drone.mdp.reward.termination_penalty,
        survived=before,
        reward=jax.lax.stop_gradient(outcome.reward),
        terminated=outcome.terminated,
        length=outcome.episode.length,
        total_reward=jax.lax.stop_gradient(outcome.episode.total_reward),
    )
    return _Now(_with_limited_gradient(config, held), nearest), flown


def _evaluate_end(
    config: Config, future: Value, drone: Drone, last: Episode, steps: Step, noise: jax.Array
) -> tuple[Window, jax.Array]:
    """Returns the whole window, and the soft value [] of its last state in units of reward."""
    seen_by_critics = disturbance(drone, last.state)
    action, log_pi = sample_action(config.sac, future.actor, last.observation, noise)
    observation = jnp.concatenate([last.observation, seen_by_critics])
    values = critic_values(config.sac, future.target_critic, observation, action)
    soft_value = jnp.min(values) / value_scale(config) - future.alpha * log_pi
    return Window(steps, last.observation, action, log_pi, seen_by_critics), soft_value


def _survival(config: Config, nearest: jax.Array) -> jax.Array:
    """Returns the smooth probability that a flight has survived whose greatest `limit_ratio` so far is `nearest`."""
    return jax.nn.sigmoid((1 - nearest) / config.sac.survival_width)


def _with_limited_gradient(config: Config, now: Episode) -> Episode:
    """Limits the gradient that flows back through all that the next step depends on.

    What stays the same in a flight (force and torque) is left out: its gradient, summed over all later steps, leads
    nowhere, and would take up the whole limit for a light vehicle.
    """
    state = now.state
    moving, observation = _limit_gradient(
        config.sac.state_gradient_limit, (state.replace(force=None, torque=None, target=None), now.observation)
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
    # Entry by entry: a reduction would be a kernel of its own.
    norm = jnp.sqrt(sum(entry * entry for leaf in jax.tree.leaves(gradient) for entry in scalars(leaf)))
    finite = jnp.isfinite(norm)
    factor = jnp.minimum(1, limit / jnp.maximum(norm, limit))
    return (jax.tree.map(lambda leaf: jnp.where(finite, leaf * factor, 0), gradient),)


_limit_gradient.defvjp(_limit_gradient_forward, _limit_gradient_backward)
