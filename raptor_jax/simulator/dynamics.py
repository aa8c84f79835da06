"""The equations of motion (L2F `60_dynamics.h`; section 2 of the L2F paper)."""

import jax
import jax.numpy as jnp
from flax import struct

from raptor_jax.dynamics.parameters import Dynamics, rotor_thrust
from raptor_jax.simulator import quaternion


class Motion(struct.PyTreeNode):
    """The part of the state that is integrated, and its time derivative; fields as in `State`."""

    position: jax.Array
    orientation: jax.Array
    linear_velocity: jax.Array
    angular_velocity: jax.Array
    rotor_state: jax.Array


def derivative(dynamics: Dynamics, motion: Motion, setpoint: jax.Array, force: jax.Array, torque: jax.Array) -> Motion:
    """Returns the time derivative of the motion.

    Args:
        dynamics: one drone.
        motion: the motion now.
        setpoint: [4] rotor state that each rotor runs after.
        force: [3] N, external, world frame.
        torque: [3] N m, external, body frame.
    """
    thrust = rotor_thrust(dynamics, motion.rotor_state)
    rotor_forces = dynamics.rotor_thrust_directions * thrust[:, None]
    drag_torques = dynamics.rotor_torque_directions * (thrust * dynamics.rotor_torque_constants)[:, None]
    body_force = rotor_forces.sum(axis=0)
    body_torque = (drag_torques + jnp.cross(dynamics.rotor_positions, rotor_forces)).sum(axis=0)

    omega = motion.angular_velocity
    gyroscopic = jnp.cross(omega, _apply(dynamics.J, omega))
    rising = setpoint >= motion.rotor_state
    time_constant = jnp.where(rising, dynamics.rotor_time_constants_rising, dynamics.rotor_time_constants_falling)
    return Motion(
        position=motion.linear_velocity,
        orientation=quaternion.derivative(motion.orientation, omega),
        linear_velocity=(quaternion.rotate(motion.orientation, body_force) + force) / dynamics.mass + dynamics.gravity,
        angular_velocity=_apply(dynamics.J_inv, body_torque - gyroscopic + torque),
        rotor_state=(setpoint - motion.rotor_state) / time_constant,
    )


def runge_kutta_4(
    dynamics: Dynamics, motion: Motion, setpoint: jax.Array, force: jax.Array, torque: jax.Array, dt: jax.Array
) -> Motion:
    """Integrates one step of dt [s] by the classical Runge-Kutta method, with the set point held (L2F `rk4`)."""

    def ahead(slope: Motion, time: jax.Array) -> Motion:
        return jax.tree.map(lambda value, rate: value + time * rate, motion, slope)

    def slope(at: Motion) -> Motion:
        return derivative(dynamics, at, setpoint, force, torque)

    k1 = slope(motion)
    k2 = slope(ahead(k1, dt / 2))
    k3 = slope(ahead(k2, dt / 2))
    k4 = slope(ahead(k3, dt))
    mean_slope = jax.tree.map(lambda a, b, c, d: (a + 2 * b + 2 * c + d) / 6, k1, k2, k3, k4)
    return ahead(mean_slope, dt)


def _apply(matrix: jax.Array, vector: jax.Array) -> jax.Array:
    # A sum of products fuses into one kernel under vmap; a batched 3 x 3 product does not.
    return jnp.sum(matrix * vector[None, :], axis=-1)
