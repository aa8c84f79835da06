"""The initial state of an episode (L2F `30_sample_initial_state.h`)."""

import jax
import jax.numpy as jnp

from raptor_jax.drones.parameters import Drone, Init
from raptor_jax.simulator import action as actions
from raptor_jax.simulator.quaternion import from_axis_angle
from raptor_jax.simulator.state import State, Target


def reset(drone: Drone, key: jax.Array) -> State:
    """Samples an initial state.

    With probability `guidance` the drone hovers level at the origin. Otherwise position, velocities, and the axis and
    angle of the orientation are uniform. Rotor states are always uniform from `min_rpm` to `max_rpm`; force and torque
    are normal.
    """
    init = drone.mdp.init
    dtype = drone.dynamics.mass.dtype
    hover_draw, target_draw, angle_draw, axis_draws, box_draws, rotor_draws, wrench_draws = jnp.split(
        jax.random.uniform(key, (24,), dtype=dtype), [1, 2, 3, 5, 14, 18]
    )
    force_draws, torque_draws = jnp.split(_normal(wrench_draws), 2)

    away = jnp.where(hover_draw[0] < init.guidance, 0, 1).astype(dtype)
    position, linear_velocity, angular_velocity = jnp.split(away * (2 * box_draws - 1), 3)
    low, high = _rotor_range(drone, init)
    rotor_state = low + rotor_draws * (high - low)
    force, torque = drone.disturbances.random_force, drone.disturbances.random_torque
    zero = jnp.zeros(3, dtype)
    hovering = 1 if drone.trajectory is None else drone.trajectory.mixture[0]
    moving = target_draw[0] >= hovering
    return State(
        position=position * init.max_position,
        orientation=from_axis_angle(_random_axis(axis_draws), away * angle_draw[0] * init.max_angle),
        linear_velocity=linear_velocity * init.max_linear_velocity,
        angular_velocity=angular_velocity * init.max_angular_velocity,
        rotor_state=rotor_state,
        force=force.mean + force.std * force_draws,
        # L2F divides the standard deviation of the yaw axis by 100.
        torque=torque.mean + torque.std * torque_draws * jnp.array([1, 1, 0.01], dtype),
        last_action=jnp.zeros(4, dtype),
        observed_action=actions.from_rotor_state(drone.dynamics.action_limit, rotor_state),
        target=Target(moving, zero, zero, zero, zero),
    )


def _normal(draws: jax.Array) -> jax.Array:
    """Maps uniform samples in [0, 1) to standard normal ones, like `jax.random.normal`."""
    least = jnp.nextafter(jnp.asarray(-1, draws.dtype), jnp.asarray(0, draws.dtype))
    return jnp.sqrt(2).astype(draws.dtype) * jax.lax.erf_inv(jnp.maximum(2 * draws - 1, least))


def _random_axis(draws: jax.Array) -> jax.Array:
    """Maps two uniform samples to a uniformly distributed unit vector [3]."""
    azimuth = 2 * jnp.pi * draws[0]
    height = 1 - 2 * draws[1]
    radius = jnp.sqrt(1 - height**2)
    return jnp.stack([radius * jnp.cos(azimuth), radius * jnp.sin(azimuth), height])


def _rotor_range(drone: Drone, init: Init) -> tuple[jax.Array, jax.Array]:
    """Returns the range of initial rotor states; as in L2F, absolute values below 0 mean the action limit."""
    limit = drone.dynamics.action_limit
    absolute_high = jnp.minimum(jnp.where(init.max_rpm < 0, limit.max, init.max_rpm), limit.max)
    absolute_low = jnp.minimum(jnp.where(init.min_rpm < 0, limit.min, init.min_rpm), absolute_high)
    relative = init.relative_rpm.astype(bool)
    low = jnp.where(relative, actions.to_rotor_state(limit, init.min_rpm), absolute_low)
    high = jnp.where(relative, actions.to_rotor_state(limit, init.max_rpm), absolute_high)
    return low, high
