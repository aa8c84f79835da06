"""Section by section, the drone of the design document in NumPy and float64: an independent second opinion.

It shares no formulation with `raptor_jax.simulator`: rotations are quaternion products, cross products are
skew-symmetric matrices, rotors are summed one by one, the motion is one flat vector, and Runge-Kutta runs off its
Butcher tableau. Leading axes of states, actions and drones broadcast.
"""

from collections.abc import Callable

import numpy as np

from raptor_jax.drones.parameters import Drone, Dynamics, Langevin
from raptor_jax.simulator import State, Target

_POSITION, _ORIENTATION, _VELOCITY, _RATE, _ROTORS = (
    slice(0, 3), slice(3, 7), slice(7, 10), slice(10, 13), slice(13, 17),
)  # fmt: skip
_BUTCHER_NODES = ((), (1 / 2,), (0, 1 / 2), (0, 0, 1))
_BUTCHER_WEIGHTS = (1 / 6, 1 / 3, 1 / 3, 1 / 6)


def step(
    drone: Drone, state: State, action: np.ndarray, action_noise: float | np.ndarray = 0.0, target_noise: float = 0.0
) -> State:
    """Returns the next state; the noises are standard normal draws, [..., 4] and [..., 3]."""
    limit = drone.dynamics.action_limit
    low, high = limit.min[..., None], limit.max[..., None]
    noisy = np.clip(action + drone.mdp.action_noise.normalized_rpm[..., None] * action_noise, -1, 1)
    throttle = low + 0.5 * (noisy + 1) * (high - low)
    motion = np.concatenate(
        [state.position, state.orientation, state.linear_velocity, state.angular_velocity, state.rotor_state], axis=-1
    )

    def slope(motion: np.ndarray) -> np.ndarray:
        return _slope(drone.dynamics, motion, throttle, state.force, state.torque)

    after = _runge_kutta(slope, motion, drone.integration.dt[..., None])
    orientation = after[..., _ORIENTATION]
    return state.replace(
        position=np.clip(after[..., _POSITION], -1e5, 1e5),
        orientation=orientation / np.sqrt(np.sum(orientation**2, axis=-1, keepdims=True)),
        linear_velocity=np.clip(after[..., _VELOCITY], -1e5, 1e5),
        angular_velocity=np.clip(after[..., _RATE], -1e5, 1e5),
        rotor_state=np.clip(after[..., _ROTORS], low, high),
        last_action=action,
        observed_action=action,
        target=advance_target(drone.trajectory.langevin, state.target, drone.integration.dt, target_noise),
    )


def advance_target(langevin: Langevin, target: Target, dt: np.ndarray, noise: float | np.ndarray) -> Target:
    """Returns the target one step later, axis by axis; one that hovers stays."""
    noise = np.broadcast_to(noise, target.position.shape)
    axes = []
    for axis in range(3):
        x, v = target.raw_position[..., axis], target.raw_velocity[..., axis]
        drift = -langevin.gamma * v - np.square(langevin.omega) * x
        v_next = v + drift * dt + langevin.sigma * np.sqrt(dt) * noise[..., axis]
        smooth_v = langevin.alpha * v_next + (1 - langevin.alpha) * target.velocity[..., axis]
        axes.append((target.position[..., axis] + smooth_v * dt, smooth_v, x + v_next * dt, v_next))
    position, velocity, raw_position, raw_velocity = (np.stack(column, axis=-1) for column in zip(*axes, strict=True))
    moving = np.asarray(target.moving)[..., None]
    return Target(
        target.moving,
        np.where(moving, position, target.position),
        np.where(moving, velocity, target.velocity),
        np.where(moving, raw_position, target.raw_position),
        np.where(moving, raw_velocity, target.raw_velocity),
    )


def observe(drone: Drone, state: State) -> np.ndarray:
    """Returns the observation [..., 26] without noise; the rotation matrix is made of the turned unit vectors."""
    columns = [_turn(state.orientation, np.broadcast_to(unit, state.position.shape)) for unit in np.eye(3)]
    rows = np.stack(columns, axis=-1).reshape(*state.position.shape[:-1], 9)
    limit = drone.dynamics.action_limit
    middle, half_range = (limit.max + limit.min)[..., None] / 2, (limit.max - limit.min)[..., None] / 2
    errors = state.position - state.target.position, rows, state.linear_velocity - state.target.velocity
    rotors = (state.rotor_state - middle) / half_range
    return np.concatenate([*errors, state.angular_velocity, state.observed_action, rotors], axis=-1)


def terminated(drone: Drone, state: State) -> np.ndarray:
    """Returns whether any component is outside its limit."""
    limits = drone.mdp.termination
    groups = (
        (state.position, limits.position_threshold),
        (state.linear_velocity, limits.linear_velocity_threshold),
        (state.angular_velocity, limits.angular_velocity_threshold),
    )
    excess = [np.max(np.abs(values), axis=-1) - threshold for values, threshold in groups]
    return np.asarray(limits.enabled, bool) & (np.max(excess, axis=0) > 0)


def reward(drone: Drone, state: State, action: np.ndarray, next_state: State) -> np.ndarray:
    """Returns the reward of an action between two states."""
    weights, dt = drone.mdp.reward, drone.integration.dt
    distance = _length(state.position - state.target.position)
    clipped = np.where(weights.position_clip > 0, np.minimum(distance, weights.position_clip), distance)
    # 2 acos(1 - x) = 4 asin(sqrt(x / 2)), which keeps its digits near x = 0.
    yaw = 4 * np.arcsin(np.sqrt(np.abs(state.orientation[..., 3]) / 2))
    throttle = 0.5 * np.asarray(action) + 0.5 - drone.dynamics.hovering_throttle_relative[..., None]
    cost = (
        weights.position * clipped
        + weights.orientation * yaw
        + weights.linear_velocity * _length(state.linear_velocity - state.target.velocity)
        + weights.angular_velocity * _length(state.angular_velocity)
        + weights.linear_acceleration * _length((next_state.linear_velocity - state.linear_velocity) / dt[..., None])
        + weights.angular_acceleration * _length((next_state.angular_velocity - state.angular_velocity) / dt[..., None])
        + weights.action * _length(throttle) ** 2
        + weights.d_action * _length(action - state.last_action)
    )
    earned = weights.constant - weights.scale * cost
    earned = np.where(np.asarray(weights.non_negative, bool) & (earned < 0), 0, earned)
    return np.where(terminated(drone, next_state), weights.termination_penalty, earned)


def _slope(
    dynamics: Dynamics, motion: np.ndarray, throttle: np.ndarray, force: np.ndarray, torque: np.ndarray
) -> np.ndarray:
    orientation, rate, rotors = motion[..., _ORIENTATION], motion[..., _RATE], motion[..., _ROTORS]
    body_force, body_torque = np.zeros_like(rate), np.zeros_like(rate)
    for i in range(4):
        powers = rotors[..., i, None] ** np.arange(3)
        thrust = np.sum(dynamics.rotor_thrust_coefficients[..., i, :] * powers, axis=-1, keepdims=True)
        vector = thrust * dynamics.rotor_thrust_directions[..., i, :]
        body_force = body_force + vector
        body_torque = body_torque + _times(_skew(dynamics.rotor_positions[..., i, :]), vector)
        drag = dynamics.rotor_torque_constants[..., i, None] * dynamics.rotor_torque_directions[..., i, :]
        body_torque = body_torque + thrust * drag
    mass = dynamics.mass[..., None]
    momentum = _times(dynamics.J, rate)
    time_constant = np.where(
        throttle < rotors, dynamics.rotor_time_constants_falling, dynamics.rotor_time_constants_rising
    )
    return np.concatenate(
        [
            motion[..., _VELOCITY],
            _product(orientation, _pure(rate)) / 2,
            _turn(orientation, body_force) / mass + force / mass + dynamics.gravity,
            _times(dynamics.J_inv, body_torque + torque - _times(_skew(rate), momentum)),
            (throttle - rotors) / time_constant,
        ],
        axis=-1,
    )


def _runge_kutta(slope: Callable[[np.ndarray], np.ndarray], start: np.ndarray, dt: np.ndarray) -> np.ndarray:
    slopes: list[np.ndarray] = []
    for nodes in _BUTCHER_NODES:
        slopes.append(slope(start + dt * sum(node * k for node, k in zip(nodes, slopes, strict=True))))
    return start + dt * sum(weight * k for weight, k in zip(_BUTCHER_WEIGHTS, slopes, strict=True))


def _turn(quaternion: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Returns the vector turned by the quaternion, q (0, v) q*.

    Inside a Runge-Kutta step quaternions are not of unit length. L2F's formula and that product then differ by
    (1 - |q|^2) v, which is added here.
    """
    conjugate = quaternion * np.array([1, -1, -1, -1])
    product = _product(_product(quaternion, _pure(vector)), conjugate)[..., 1:]
    return product + (1 - np.sum(quaternion**2, axis=-1, keepdims=True)) * vector


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamilton's product, by scalar and vector parts."""
    scalar = a[..., :1] * b[..., :1] - np.sum(a[..., 1:] * b[..., 1:], axis=-1, keepdims=True)
    vector = a[..., :1] * b[..., 1:] + b[..., :1] * a[..., 1:] + _times(_skew(a[..., 1:]), b[..., 1:])
    return np.concatenate([scalar, vector], axis=-1)


def _pure(vector: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros_like(vector[..., :1]), vector], axis=-1)


def _skew(vector: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(vector, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)


def _times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return np.einsum("...ij,...j->...i", matrix, vector)


def _length(vector: np.ndarray) -> np.ndarray:
    return np.sqrt(np.sum(np.square(vector), axis=-1))
