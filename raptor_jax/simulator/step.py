"""One control period (L2F `step` and `70_post_integration.h`)."""

import jax
import jax.numpy as jnp

from raptor_jax.drones.parameters import Drone
from raptor_jax.simulator import action as actions
from raptor_jax.simulator import quaternion
from raptor_jax.simulator import target as targets
from raptor_jax.simulator.dynamics import Motion, runge_kutta_4
from raptor_jax.simulator.noise import Noise
from raptor_jax.simulator.quaternion import Quat
from raptor_jax.simulator.state import State
from raptor_jax.simulator.vector import Vec, scalars

STATE_LIMIT = 1e5
"""Positions (m), velocities (m/s) and rates (rad/s) are clamped here, so that a crash stays finite (L2F)."""


def step(drone: Drone, state: State, action: jax.Array, noise: Noise) -> State:
    """Simulates one control period.

    Args:
        drone: physics and task.
        state: the current state.
        action: [4] in [-1, 1]; values outside are clipped for the rotors, but not in the recorded action.
        noise: of this step, from `draw_noise`.

    Returns:
        The state `drone.integration.dt` seconds later.
    """
    limit = drone.dynamics.action_limit
    noisy = action
    if noise.action is not None and drone.mdp.action_noise is not None:
        noisy = action + drone.mdp.action_noise.normalized_rpm * noise.action
    setpoint = tuple(actions.to_rotor_state(limit, jnp.clip(entry, -1, 1)) for entry in scalars(noisy))
    now = Motion(
        Vec.of(state.position),
        Quat.of(state.orientation),
        Vec.of(state.linear_velocity),
        Vec.of(state.angular_velocity),
        scalars(state.rotor_state),
    )
    force, torque = Vec.of(state.force), Vec.of(state.torque)
    after = runge_kutta_4(drone.dynamics, now, setpoint, force, torque, drone.integration.dt)
    return state.replace(
        position=_clamped(after.position),
        orientation=quaternion.normalized(after.orientation).array(),
        linear_velocity=_clamped(after.linear_velocity),
        angular_velocity=_clamped(after.angular_velocity),
        rotor_state=jnp.stack([jnp.clip(u, limit.min, limit.max) for u in after.rotor_state]),
        last_action=action,
        observed_action=action,
        target=targets.advance(drone.trajectory, state.target, drone.integration.dt, noise.target),
    )


def _clamped(vector: Vec) -> jax.Array:
    return jnp.stack([jnp.clip(entry, -STATE_LIMIT, STATE_LIMIT) for entry in (vector.x, vector.y, vector.z)])
