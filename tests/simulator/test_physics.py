"""What any rigid body with rotors must do, whatever its parameters."""

import jax
import numpy as np
import pytest

from raptor_jax import simulator
from raptor_jax.drones.parameters import Drone, hovering_throttle, stack
from raptor_jax.simulator import State
from validation.drones import at_rest, crooked, on_device, replaced, rounded, sampled_drones, take
from validation.parity.flights import Flights, draw_flights, fly_numpy, fly_ours
from validation.parity.transitions import MOTION, double_precision

# Rotors in the order front right, back right, back left, front left; the mirror swaps left and right.
MIRROR = np.array([3, 2, 1, 0])


@pytest.fixture(scope="module")
def drones() -> list[Drone]:
    return sampled_drones(6)


def thrustless(drones: list[Drone]) -> list[Drone]:
    return [replaced(drone, dynamics__rotor_thrust_coefficients=np.zeros((4, 3))) for drone in drones]


def fly_double(flights: Flights) -> State:
    with double_precision():
        return fly_ours(flights)


# The reference too, since other tests compare the simulator with it.
@pytest.mark.parametrize(("fly", "steps"), [(fly_double, 500), (fly_numpy, 100)])
def test_hovering_throttle_holds_a_drone_in_place(drones, fly, steps):
    throttle = np.tile(hovering_throttle(stack(drones).dynamics)[:, None], 4)
    start = at_rest(len(drones), rotor_state=throttle)
    flown = fly(Flights(drones, start, np.tile(2 * throttle - 1, (steps, 1, 1))))
    assert np.abs(flown.position).max() < 1e-10
    np.testing.assert_allclose(flown.orientation, np.broadcast_to([1, 0, 0, 0], flown.orientation.shape), atol=1e-12)


def test_without_thrust_it_falls_on_a_parabola(drones):
    velocity = np.random.default_rng(0).normal(0, 2, (len(drones), 3))
    force = np.random.default_rng(1).normal(0, 0.1, (len(drones), 3))
    start = at_rest(len(drones), linear_velocity=velocity, force=force)
    flown = fly_double(Flights(thrustless(drones), start, np.zeros((200, len(drones), 4))))
    time = 0.01 * np.arange(1, 201)[:, None, None]
    acceleration = np.array([0, 0, -9.81]) + force / stack(drones).dynamics.mass[:, None]
    np.testing.assert_allclose(flown.position, velocity * time + acceleration * time**2 / 2, atol=1e-11)
    np.testing.assert_allclose(flown.linear_velocity, velocity + acceleration * time, atol=1e-11)


def test_without_torque_spin_energy_and_angular_momentum_stay(drones):
    """A skewed inertia, at rates where Runge-Kutta's own error over 2 s stays below a millionth."""
    random = np.random.default_rng(0)
    tumbling = thrustless([crooked(drone, random) for drone in drones])
    start = at_rest(len(tumbling), angular_velocity=random.normal(0, 3, (len(drones), 3)))
    flown = fly_double(Flights(tumbling, start, np.zeros((200, len(drones), 4))))
    momentum = np.einsum("dij,tdj->tdi", stack(tumbling).dynamics.J, flown.angular_velocity)
    energy = np.sum(momentum * flown.angular_velocity, axis=-1) / 2
    np.testing.assert_allclose(energy, np.broadcast_to(energy[:1], energy.shape), rtol=1e-6)
    in_world = _turned(flown.orientation, momentum)
    scale = np.linalg.norm(in_world[0], axis=-1, keepdims=True)
    np.testing.assert_allclose(in_world / scale, np.broadcast_to(in_world[:1] / scale, in_world.shape), atol=1e-6)
    assert np.abs(flown.angular_velocity - flown.angular_velocity[0]).max() > 1


def test_orientation_stays_of_unit_length(drones):
    flown = fly_ours(draw_flights(drones, 500, 0))
    assert np.abs(np.linalg.norm(flown.orientation, axis=-1) - 1).max() < 3e-7


def test_mirror_image_flies_the_mirror_image(drones):
    """Left and right exchanged: true vectors lose their y, axial ones their x and z, and rotors swap sides."""
    flights = draw_flights(drones, 200, 1)
    polar, axial = np.array([1, -1, 1]), np.array([-1, 1, -1])
    start = flights.start
    mirrored = start.replace(
        angular_velocity=start.angular_velocity * axial,
        force=start.force * polar,
        torque=start.torque * axial,
        rotor_state=start.rotor_state[:, MIRROR],
    )
    flown = fly_double(flights)
    image = fly_double(Flights(flights.drones, mirrored, flights.actions[..., MIRROR]))
    np.testing.assert_allclose(image.position, flown.position * polar, atol=1e-10)
    np.testing.assert_allclose(image.linear_velocity, flown.linear_velocity * polar, atol=1e-10)
    np.testing.assert_allclose(image.angular_velocity, flown.angular_velocity * axial, atol=1e-10)
    np.testing.assert_allclose(image.orientation, flown.orientation * np.concatenate([[1], axial]), atol=1e-10)
    np.testing.assert_array_equal(image.rotor_state, flown.rotor_state[..., MIRROR])


def test_rotors_approach_their_set_point_with_their_time_constants(drones):
    start = at_rest(len(drones), rotor_state=np.full((len(drones), 4), 0.5))
    up_and_down = np.tile([1.0, 0.6, -1.0, -0.6], (50, len(drones), 1))
    flown = fly_double(Flights(drones, start, up_and_down))
    dynamics = stack(drones).dynamics
    setpoint = np.array([1.0, 0.8, 0.0, 0.2])
    rising, falling = dynamics.rotor_time_constants_rising, dynamics.rotor_time_constants_falling
    time_constant = np.where(setpoint > 0.5, rising, falling)
    time = 0.01 * np.arange(1, 51)[:, None, None]
    expected = setpoint + (0.5 - setpoint) * np.exp(-time / time_constant)
    np.testing.assert_allclose(flown.rotor_state, expected, atol=1e-4)


def test_a_crash_stays_inside_the_state_limits(drones):
    start = at_rest(
        len(drones),
        position=np.full((len(drones), 3), 1e5),
        linear_velocity=np.full((len(drones), 3), -2e5),
        rotor_state=np.full((len(drones), 4), 1.5),
    )
    flown = fly_ours(Flights(drones, rounded(start), np.ones((1, len(drones), 4))))
    assert np.abs(flown.position).max() <= 1e5
    np.testing.assert_array_equal(flown.linear_velocity, np.full_like(flown.linear_velocity, -1e5))
    assert flown.rotor_state.max() == 1


def test_compiled_mapped_and_plain_agree(drones):
    """One drone in plain Python, compiled, and as a row of a compiled batch."""
    flights = draw_flights(drones, 1, 0)
    batched = fly_ours(flights)
    drone, state, action = on_device((drones[3], *take((flights.start, flights.actions[0]), 3)))
    for step in (simulator.step, jax.jit(simulator.step)):
        alone = step(drone, state, action, simulator.Noise())
        for name in MOTION:
            np.testing.assert_allclose(getattr(alone, name), getattr(batched, name)[0, 3], atol=1e-6)


def _turned(orientation: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Returns vectors turned by unit quaternions, in the form of Euler and Rodrigues."""
    w, axis = orientation[..., :1], orientation[..., 1:]
    return vector + 2 * np.cross(axis, np.cross(axis, vector) + w * vector)
