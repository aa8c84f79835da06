"""The equations of motion (L2F `60_dynamics.h`; section 2 of the L2F paper)."""

import functools
import operator

import jax
import jax.numpy as jnp
from flax import struct

from raptor_jax.drones.parameters import Dynamics
from raptor_jax.simulator import quaternion
from raptor_jax.simulator.compiler import kept_together, stages_in_a_loop
from raptor_jax.simulator.quaternion import Quat
from raptor_jax.simulator.vector import Matrix, Vec, cross, scalars


class Motion(struct.PyTreeNode):
    """The integrated part of the state, or its time derivative; fields and units as in `State`."""

    position: Vec
    orientation: Quat
    linear_velocity: Vec
    angular_velocity: Vec
    rotor_state: tuple[jax.Array, ...]
    """One scalar for each rotor."""


class Rotor(struct.PyTreeNode):
    """One rotor; fields and units as in `Dynamics`, in the singular."""

    position: Vec
    thrust_direction: Vec
    torque_direction: Vec
    thrust_coefficients: Vec
    torque_constant: jax.Array
    time_constant_rising: jax.Array
    time_constant_falling: jax.Array


def rotors(dynamics: Dynamics) -> tuple[Rotor, ...]:
    """Returns the four rotors of a drone."""
    vectors = (
        dynamics.rotor_positions,
        dynamics.rotor_thrust_directions,
        dynamics.rotor_torque_directions,
        dynamics.rotor_thrust_coefficients,
    )
    numbers = (
        dynamics.rotor_torque_constants,
        dynamics.rotor_time_constants_rising,
        dynamics.rotor_time_constants_falling,
    )
    by_rotor = zip(*([Vec.of(row) for row in scalars(a)] for a in vectors), *map(scalars, numbers), strict=True)
    return tuple(Rotor(*fields) for fields in by_rotor)


def derivative(dynamics: Dynamics, motion: Motion, setpoint: tuple[jax.Array, ...], force: Vec, torque: Vec) -> Motion:
    """Returns the time derivative of the motion.

    Args:
        dynamics: one drone.
        motion: the current motion.
        setpoint: rotor state that each rotor approaches.
        force: external force in N, world frame.
        torque: external torque in N m, body frame.
    """
    forces, torques, rotor_slopes = [], [], []
    for rotor, u, target in zip(rotors(dynamics), motion.rotor_state, setpoint, strict=True):
        c = rotor.thrust_coefficients
        thrust = c.x + c.y * u + c.z * u**2
        rotor_force = rotor.thrust_direction * thrust
        forces.append(rotor_force)
        drag_torque = rotor.torque_direction * (thrust * rotor.torque_constant)
        torques.append(drag_torque + cross(rotor.position, rotor_force))
        time_constant = jnp.where(target >= u, rotor.time_constant_rising, rotor.time_constant_falling)
        rotor_slopes.append((target - u) / time_constant)
    body_force = functools.reduce(operator.add, forces)
    body_torque = functools.reduce(operator.add, torques)

    omega = motion.angular_velocity
    gyroscopic = cross(omega, Matrix.of(dynamics.J) @ omega)
    world_force = quaternion.rotate(motion.orientation, body_force) + force
    return Motion(
        position=motion.linear_velocity,
        orientation=quaternion.derivative(motion.orientation, omega),
        linear_velocity=world_force / dynamics.mass + Vec.of(dynamics.gravity),
        angular_velocity=Matrix.of(dynamics.J_inv) @ (body_torque - gyroscopic + torque),
        rotor_state=tuple(rotor_slopes),
    )


@kept_together
def runge_kutta_4(
    dynamics: Dynamics, motion: Motion, setpoint: tuple[jax.Array, ...], force: Vec, torque: Vec, dt: jax.Array
) -> Motion:
    """Integrates one step of dt [s] with the classical Runge-Kutta method and a constant setpoint (L2F `rk4`)."""

    def ahead(slope: Motion, time: jax.Array) -> Motion:
        return jax.tree.map(lambda value, rate: value + time * rate, motion, slope)

    def slope(at: Motion) -> Motion:
        return derivative(dynamics, at, setpoint, force, torque)

    def stage(
        carried: tuple[Motion, Motion], scheme: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[Motion, Motion], None]:
        (before, total), (time, weight) = carried, scheme
        here = slope(ahead(before, time))
        return (here, jax.tree.map(lambda sum_, rate: sum_ + weight * rate, total, here)), None

    zero = jax.tree.map(jnp.zeros_like, motion)
    times, weights = jnp.stack([0 * dt, dt / 2, dt / 2, dt]), jnp.array([1, 2, 2, 1], dt.dtype)
    unroll = 1 if stages_in_a_loop() else len(weights)
    (_, total), _ = jax.lax.scan(stage, (zero, zero), (times, weights), unroll=unroll)
    return ahead(jax.tree.map(lambda sum_: sum_ / 6, total), dt)
