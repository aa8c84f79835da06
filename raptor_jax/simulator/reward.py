"""Reward and termination (L2F `reward_functions/squared` and `terminated`)."""

import functools
import operator

import jax
import jax.numpy as jnp

from raptor_jax.drones.parameters import Drone
from raptor_jax.simulator.state import State
from raptor_jax.simulator.vector import scalars


def terminated(drone: Drone, state: State) -> jax.Array:
    """Returns whether a state terminates its episode: [] bool.

    The limits apply to the absolute value of each component, independently of the target.
    """
    limits = drone.mdp.termination
    outside = (
        _any_beyond(limits.position_threshold, state.position)
        | _any_beyond(limits.linear_velocity_threshold, state.linear_velocity)
        | _any_beyond(limits.angular_velocity_threshold, state.angular_velocity)
    )
    return outside & limits.enabled.astype(bool)


def limit_ratio(drone: Drone, state: State) -> jax.Array:
    """Returns how close a state is to the termination limits: [], 0 at the origin, above 1 outside of them.

    The largest component of position, velocity and body rates, divided by its limit; 0 if there are no limits.
    """
    limits = drone.mdp.termination
    ratio = jnp.maximum(
        jnp.maximum(
            _greatest(state.position) / limits.position_threshold,
            _greatest(state.linear_velocity) / limits.linear_velocity_threshold,
        ),
        _greatest(state.angular_velocity) / limits.angular_velocity_threshold,
    )
    return jnp.where(limits.enabled.astype(bool), ratio, 0)


def reward(drone: Drone, state: State, action: jax.Array, next_state: State) -> jax.Array:
    """Returns the reward [] of the action [4] in `state` that leads to `next_state`.

    It is `alive_reward`, or the termination penalty if `next_state` is terminal.
    """
    alive = alive_reward(drone, state, action, next_state)
    return jnp.where(terminated(drone, next_state), drone.mdp.reward.termination_penalty, alive)


def alive_reward(drone: Drone, state: State, action: jax.Array, next_state: State) -> jax.Array:
    """Returns the reward [] of a step without the termination penalty.

    It is constant - scale * cost of `state`, clipped at 0 if non_negative. All costs are norms, except for the squared
    cost of the action, and that of the orientation (w, x, y, z), 2 arccos(1 - |z|): as in L2F, it depends only on z,
    and is about 2 sqrt(yaw) for a small yaw.
    """
    weights = drone.mdp.reward
    position = _norm(state.position - state.target.position)
    clip = jnp.where(weights.position_clip > 0, weights.position_clip, jnp.inf)
    dt = drone.integration.dt
    off_hover = (action + 1) / 2 - drone.dynamics.hovering_throttle_relative
    # The slope of the arccos is infinite at z = 0; `_limit_gradient` in `sac.rollout` limits it, and discards NaN.
    cost = (
        weights.position * jnp.minimum(position, clip)
        + weights.orientation * 2 * jnp.arccos(1 - jnp.abs(state.orientation[3]))
        + weights.linear_velocity * _norm(state.linear_velocity - state.target.velocity)
        + weights.angular_velocity * _norm(state.angular_velocity)
        + weights.linear_acceleration * _norm(next_state.linear_velocity - state.linear_velocity) / dt
        + weights.angular_acceleration * _norm(next_state.angular_velocity - state.angular_velocity) / dt
        + weights.action * _squared_length(off_hover)
        + weights.d_action * _norm(action - state.last_action)
    )
    alive = weights.constant - weights.scale * cost
    return jnp.where(weights.non_negative.astype(bool), jnp.maximum(alive, 0), alive)


def _norm(vector: jax.Array) -> jax.Array:
    # The square root is not differentiable at 0; both branches are guarded so that the gradient there is 0, not NaN.
    square = _squared_length(vector)
    at_zero = square == 0
    return jnp.where(at_zero, 0, jnp.sqrt(jnp.where(at_zero, 1, square)))


def _squared_length(vector: jax.Array) -> jax.Array:
    return functools.reduce(operator.add, [entry * entry for entry in scalars(vector)])


def _greatest(vector: jax.Array) -> jax.Array:
    """Returns the largest absolute entry []."""
    return functools.reduce(jnp.maximum, map(jnp.abs, scalars(vector)))


def _any_beyond(limit: jax.Array, vector: jax.Array) -> jax.Array:
    return functools.reduce(jnp.logical_or, [jnp.abs(entry) > limit for entry in scalars(vector)])
