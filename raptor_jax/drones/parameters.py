"""A drone: its physics and its task, as a pytree of arrays.

The tree mirrors L2F's JSON file key by key (section 2 of Eschmann et al., "Learning to Fly in Seconds", and L2F's
`Parameters` structs), so a field, a key in a file and a parameter of the original simulator have the same name. Each
field declares its unit, shape and range, and whether a file may omit or shorten it; see `fields`.

Frame FLU (x forward, y left, z up), SI units. Rotor order: front right, back right, back left, front left.
The drones of a population are the same tree with a leading teacher axis; see `stack`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jax
import numpy as np

from raptor_jax.drones.fields import Group, group, leaf

Array = Any  # numpy on the host in float64, jax on the device in float32


class ActionLimit(Group):
    """The range of a rotor's state and setpoint; an action of -1 is `min`, +1 is `max`."""

    min: Array = leaf("rotor state")
    max: Array = leaf("rotor state")


class Dynamics(Group, kw_only=True):
    """The rigid body and its four rotors."""

    rotor_positions: Array = leaf("m", 4, 3)
    rotor_thrust_directions: Array = leaf("unit vector", 4, 3, short="one rotor", default=[0.0, 0.0, 1.0])
    rotor_torque_directions: Array = leaf(
        "unit vector", 4, 3, default=[[0.0, 0.0, -1.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.0, 0.0, 1.0]]
    )
    rotor_thrust_coefficients: Array = leaf("N, by power of the rotor state", 4, 3, short="one rotor", computed=True)
    rotor_torque_constants: Array = leaf("m (N m of torque per N of thrust)", 4, least=0, short="one rotor")
    rotor_time_constants_rising: Array = leaf("s", 4, above=0, short="one rotor")
    rotor_time_constants_falling: Array = leaf("s", 4, above=0, short="one rotor", computed=True)
    mass: Array = leaf("kg", above=0)
    gravity: Array = leaf("m/s^2, world frame", 3, default=[0.0, 0.0, -9.81])
    J: Array = leaf("kg m^2, body frame", 3, 3, short="diagonal")
    J_inv: Array = leaf("1/(kg m^2), body frame", 3, 3, computed=True, derived=True)
    hovering_throttle_relative: Array = leaf(
        "fraction of the range of action_limit", least=0, most=1, computed=True, derived=True
    )
    action_limit: ActionLimit = group(default={"min": 0.0, "max": 1.0})


class Integration(Group):
    """The fixed time step of the simulator, which is also the control period."""

    dt: Array = leaf("s", above=0)


class Init(Group):
    """Ranges of the initial state; `guidance` is the probability of hover at the origin."""

    guidance: Array = leaf("probability", least=0, most=1)
    max_position: Array = leaf("m", least=0)
    max_angle: Array = leaf("rad", least=0)
    max_linear_velocity: Array = leaf("m/s", least=0)
    max_angular_velocity: Array = leaf("rad/s", least=0)
    relative_rpm: Array = leaf("true: min_rpm and max_rpm are in [-1, 1]", kind=bool)
    min_rpm: Array = leaf("rotor state, see relative_rpm")
    max_rpm: Array = leaf("rotor state, see relative_rpm")


class Reward(Group):
    """The weights of the reward; `raptor_jax.simulator.reward` has the formula."""

    l2f_only: ClassVar[Mapping[str, object]] = {"position_error_integral": 0.0}

    non_negative: Array = leaf("true: a negative reward is clipped to 0", kind=bool)
    scale: Array = leaf("reward per unit of cost")
    constant: Array = leaf("reward per step")
    termination_penalty: Array = leaf("reward of a terminating step")
    position: Array = leaf("cost per m")
    position_clip: Array = leaf("m, 0: no clip")
    orientation: Array = leaf("cost per 2 arccos(1 - |z|), z of the orientation")
    linear_velocity: Array = leaf("cost per m/s")
    angular_velocity: Array = leaf("cost per rad/s")
    linear_acceleration: Array = leaf("cost per m/s^2")
    angular_acceleration: Array = leaf("cost per rad/s^2")
    action: Array = leaf("cost per squared distance from hover")
    d_action: Array = leaf("cost per change of action")


class ObservationNoise(Group):
    """Standard deviations of the Gaussian noise on each group of the observation."""

    l2f_only: ClassVar[Mapping[str, object]] = {"imu_acceleration": 0.0}

    position: Array = leaf("m", least=0)
    orientation: Array = leaf("per entry of the rotation matrix", least=0)
    linear_velocity: Array = leaf("m/s", least=0)
    angular_velocity: Array = leaf("rad/s", least=0)


class ActionNoise(Group):
    """Standard deviation of the Gaussian noise on an action."""

    normalized_rpm: Array = leaf("action, in [-1, 1]", least=0)


class Termination(Group):
    """An episode ends when any component of the state leaves these limits."""

    l2f_only: ClassVar[Mapping[str, object]] = {
        "position_integral_threshold": 10000.0,
        "orientation_integral_threshold": 50000.0,
    }

    enabled: Array = leaf("true: the limits apply", kind=bool)
    position_threshold: Array = leaf("m", above=0)
    linear_velocity_threshold: Array = leaf("m/s", above=0)
    angular_velocity_threshold: Array = leaf("rad/s", above=0)


class Mdp(Group):
    """The task: initial states, reward, noise and termination."""

    init: Init
    reward: Reward
    observation_noise: ObservationNoise
    action_noise: ActionNoise
    termination: Termination


class Normal(Group):
    """A normal distribution, sampled once per episode and axis."""

    mean: Array = leaf("N or N m")
    std: Array = leaf("N or N m", least=0)


class Disturbances(Group):
    """The constant external wrench of an episode: force in the world frame, torque in the body frame."""

    random_force: Normal
    random_torque: Normal


class Langevin(Group):
    """The smoothed Langevin process of a moving target."""

    gamma: Array = leaf("1/s, friction", least=0)
    omega: Array = leaf("rad/s, natural frequency", least=0)
    sigma: Array = leaf("m/s^1.5, excitation", least=0)
    alpha: Array = leaf("smoothing per step, in (0, 1]", above=0, most=1)


class Trajectory(Group, kw_only=True):
    """The target: each episode samples hover or Langevin with the probabilities `mixture`."""

    mixture: Array = leaf("probability of hover and of Langevin", 2, least=0, most=1)
    langevin: Langevin


class Drone(Group):
    """One drone and its task; `raptor_jax.drones.files` reads and writes it.

    On the device `mdp.observation_noise`, `mdp.action_noise` and `trajectory` may be None: see `without_idle_noise`.
    """

    l2f_only: ClassVar[Mapping[str, object]] = {
        "domain_randomization": {
            "thrust_to_weight_min": 0.0,
            "thrust_to_weight_max": 0.0,
            "torque_to_inertia_min": 0.0,
            "torque_to_inertia_max": 0.0,
            "mass_min": 0.0,
            "mass_max": 0.0,
            "mass_size_deviation": 0.0,
            "rotor_time_constant_rising_min": 0.0,
            "rotor_time_constant_rising_max": 0.0,
            "rotor_time_constant_falling_min": 0.0,
            "rotor_time_constant_falling_max": 0.0,
            "rotor_torque_constant_min": 0.0,
            "rotor_torque_constant_max": 0.0,
            "orientation_offset_angle_max": 0.0,
            "disturbance_force_max": 0.0,
        }
    }

    dynamics: Dynamics
    integration: Integration = group(default={"dt": 0.01})
    mdp: Mdp = group(computed=True)
    disturbances: Disturbances = group(computed=True)
    trajectory: Trajectory = group(computed=True)


def stack(drones: Sequence[Drone]) -> Drone:
    """Returns one tree whose leaves have a leading teacher axis, in the order of `drones`."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *drones)


def without_idle_noise(drones: Drone) -> Drone:
    """Returns drones [T, ...] with None for each kind of noise that no drone has (host side).

    The simulator neither samples nor adds these: action noise, observation noise, moving targets.
    """
    mdp = drones.mdp

    def idle(deviations: ActionNoise | ObservationNoise | None) -> bool:
        return not any(np.any(deviation) for deviation in jax.tree.leaves(deviations))

    return drones.replace(
        mdp=mdp.replace(
            action_noise=None if idle(mdp.action_noise) else mdp.action_noise,
            observation_noise=None if idle(mdp.observation_noise) else mdp.observation_noise,
        ),
        trajectory=None if np.all(drones.trajectory.mixture[..., 0] >= 1) else drones.trajectory,
    )


def with_idle_noise(drone: Drone) -> Drone:
    """Returns one drone with zero noise and a fixed target in place of None: the inverse of `without_idle_noise`."""
    mdp = drone.mdp
    return drone.replace(
        mdp=mdp.replace(
            action_noise=mdp.action_noise or ActionNoise(0.0),
            observation_noise=mdp.observation_noise or ObservationNoise(0.0, 0.0, 0.0, 0.0),
        ),
        trajectory=drone.trajectory or Trajectory(mixture=np.array([1.0, 0.0]), langevin=Langevin(0.0, 0.0, 0.0, 1.0)),
    )


def same(a: Drone | Dynamics, b: Drone | Dynamics) -> bool:
    """Returns whether two drones, or their dynamics, are equal in every number."""
    # Drones with a fixed target have no trajectory, so even the trees can differ.
    leaves, others = jax.tree.leaves_with_path(a), jax.tree.leaves_with_path(b)
    return [path for path, _ in leaves] == [path for path, _ in others] and all(
        np.array_equal(leaf, other) for (_, leaf), (_, other) in zip(leaves, others, strict=True)
    )


def rotor_thrust(dynamics: Dynamics, rotor_state: Array) -> Array:
    """Returns the thrust [..., 4] in N of each rotor at given rotor states (L2F `multirotor_dynamics`)."""
    constant, linear, quadratic = (dynamics.rotor_thrust_coefficients[..., i] for i in range(3))
    return constant + linear * rotor_state + quadratic * rotor_state**2


def mean_max_thrust(dynamics: Dynamics) -> np.ndarray:
    """Returns the mean thrust [...] in N of a rotor at full throttle (host side)."""
    return rotor_thrust(dynamics, np.asarray(dynamics.action_limit.max)[..., None]).mean(axis=-1)


def weight(dynamics: Dynamics) -> np.ndarray:
    """Returns the weight [...] in N (host side)."""
    return dynamics.mass * np.linalg.norm(dynamics.gravity, axis=-1)


def thrust_to_weight(dynamics: Dynamics) -> np.ndarray:
    """Returns the thrust of all rotors at full throttle divided by the weight, [...] (host side, float64).

    Source: L2F `sample_initial_parameters`, which assumes that all rotors point in the same direction.
    """
    return 4 * mean_max_thrust(dynamics) / weight(dynamics)


def torque_to_inertia(dynamics: Dynamics) -> np.ndarray:
    """Returns sqrt(2) |x of the first rotor| * maximum thrust of a rotor / J_xx, [...] in 1/s^2 (host side).

    Source: L2F `sample_initial_parameters`; two of four equal rotors contribute to the roll torque.
    """
    return np.sqrt(2) * np.abs(dynamics.rotor_positions[..., 0, 0]) * mean_max_thrust(dynamics) / dynamics.J[..., 0, 0]


def max_rotor_distance(dynamics: Dynamics) -> np.ndarray:
    """Returns the distance [...] in m of the outermost rotor from the centre of mass (host side)."""
    return np.linalg.norm(dynamics.rotor_positions, axis=-1).max(axis=-1)


def hovering_throttle(dynamics: Dynamics) -> np.ndarray:
    """Returns the throttle [...], 0 to 1 within the action limits, at which four equal rotors carry the weight (host).

    Solves the thrust curve of the mean rotor for a quarter of the weight. The root is outside of [0, 1], or NaN, if no
    throttle within the limits carries the weight.
    """
    constant, linear, quadratic = np.moveaxis(np.mean(dynamics.rotor_thrust_coefficients, axis=-2), -1, 0)
    missing = weight(dynamics) / 4 - constant
    discriminant = np.sqrt(linear**2 + 4 * quadratic * missing)
    # The form 2c / (b + sqrt(...)) avoids 0/0 where the curve is linear.
    rotor_state = 2 * missing / (linear + discriminant)
    return (rotor_state - dynamics.action_limit.min) / (dynamics.action_limit.max - dynamics.action_limit.min)
