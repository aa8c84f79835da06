"""One control period (L2F `step` and `70_post_integration.h`)."""

import jax
import jax.numpy as jnp

from raptor_jax.dynamics.parameters import Drone
from raptor_jax.simulator import action as actions
from raptor_jax.simulator import target as targets
from raptor_jax.simulator.dynamics import Motion, runge_kutta_4
from raptor_jax.simulator.state import State

STATE_LIMIT = 1e5
"""Positions (m), velocities (m/s) and rates (rad/s) are clamped here, so that a crash stays finite (L2F)."""


def step(drone: Drone, state: State, action: jax.Array, key: jax.Array) -> State:
    """Simulates one control period.

    Args:
        drone: physics and task.
        state: the state now.
        action: [4] in [-1, 1]; what lies outside is clipped for the rotors and recorded as it is.
        key: random key of this step's action noise and target noise.

    Returns:
        The state after `drone.integration.dt` seconds.
    """
    action_noise, target_noise = jnp.split(jax.random.normal(key, (7,), dtype=action.dtype), [4])
    dt = drone.integration.dt
    limit = drone.dynamics.action_limit
    noisy_action = jnp.clip(action + drone.mdp.action_noise.normalized_rpm * action_noise, -1, 1)
    setpoint = actions.to_rotor_state(limit, noisy_action)
    motion = Motion(state.position, state.orientation, state.linear_velocity, state.angular_velocity, state.rotor_state)
    motion = runge_kutta_4(drone.dynamics, motion, setpoint, state.force, state.torque, dt)
    return state.replace(
        position=jnp.clip(motion.position, -STATE_LIMIT, STATE_LIMIT),
        orientation=motion.orientation / jnp.linalg.norm(motion.orientation),
        linear_velocity=jnp.clip(motion.linear_velocity, -STATE_LIMIT, STATE_LIMIT),
        angular_velocity=jnp.clip(motion.angular_velocity, -STATE_LIMIT, STATE_LIMIT),
        rotor_state=jnp.clip(motion.rotor_state, limit.min, limit.max),
        last_action=action,
        observed_action=action,
        target=targets.advance(drone.trajectory, state.target, dt, target_noise),
    )
