"""The two built-in tasks, which apply to any drone: the default, and the one of RAPTOR's release.

RAPTOR's is the task on which RLtools trained its teachers (Eschmann et al., "RAPTOR: A Foundation Policy for Quadrotor
Control"). The default starts closer to the target, permits faster flight and rewards precision: its costs of position
and orientation are higher, and it penalises throttle away from hover.
"""

import math
from typing import Literal

import jax
import numpy as np

from raptor_jax.config import EnvironmentConfig
from raptor_jax.drones.parameters import (
    ActionNoise,
    Disturbances,
    Drone,
    Dynamics,
    Init,
    Langevin,
    Mdp,
    Normal,
    ObservationNoise,
    Reward,
    Termination,
    Trajectory,
    hovering_throttle,
    max_rotor_distance,
)
from raptor_jax.errors import UserError

TaskName = Literal["default", "raptor"]

PASS_RETURN: dict[TaskName, float] = {"default": 200.0, "raptor": 300.0}
"""Mean return of 500 steps above which a policy passes on a drone."""

_L2F_MAX_ANGLE = 1.0
"""rad, the largest initial angle that l2f 2.0.18 samples, regardless of max_angle."""


_RECOVERY_DISTANCE = 8.0
"""m, position limit of the default task: more than any drone of the default distribution falls in a flight that it can
recover from (docs/methods.md)."""


def task(name: TaskName, dynamics: Dynamics) -> tuple[Mdp, Trajectory]:
    """Returns a task for a drone; limits that depend on its size are multiples of its largest rotor distance."""
    build = {"default": _default, "raptor": _raptor}[name]
    return jax.tree.map(np.asarray, build(float(max_rotor_distance(dynamics))))


def with_task(drone: Drone, name: TaskName) -> Drone:
    """Returns the drone with `mdp` and `trajectory` of a task; disturbances and dynamics are unchanged.

    The exception is the hovering throttle, which only the reward uses: it is computed from the thrust curve, because
    all of RLtools' drones have that of the nominal drone.
    """
    mdp, trajectory = task(name, drone.dynamics)
    throttle = np.asarray(hovering_throttle(drone.dynamics))
    dynamics = drone.dynamics.replace(hovering_throttle_relative=throttle)
    return drone.replace(dynamics=dynamics, mdp=mdp, trajectory=trajectory)


def for_training(drone: Drone, environment: EnvironmentConfig, source: str) -> Drone:
    """Returns the drone with the configured task.

    Args:
        drone: one drone, as read from its file.
        environment: `task` and `l2f_initial_angle` are applied; `dt` must be that of the drone.
        source: name of the drone in errors, usually its file.

    Raises:
        UserError: the drone's integration step is not `environment.dt`.
    """
    dt = float(drone.integration.dt)
    if not math.isclose(dt, environment.dt, rel_tol=1e-6):
        raise UserError(
            f"{source}: integration.dt: {dt} s differs from environment.dt {environment.dt} s;"
            f" set environment.dt to {dt}, or correct the file"
        )
    if environment.task != "file":
        drone = with_task(drone, environment.task)
    init = drone.mdp.init
    if environment.l2f_initial_angle and init.max_angle > 0:
        drone = drone.replace(mdp=drone.mdp.replace(init=init.replace(max_angle=np.array(_L2F_MAX_ANGLE))))
    return drone


def no_disturbances() -> Disturbances:
    """Returns disturbances that are always zero."""
    return Disturbances(random_force=_zero_normal(), random_torque=_zero_normal())


def _default(rotor_distance: float) -> tuple[Mdp, Trajectory]:
    max_position = 0.5
    reward = Reward(
        non_negative=False,
        scale=0.1,
        constant=1.0,
        termination_penalty=-100.0,
        position=10.0,
        position_clip=0.0,
        orientation=2.5,
        linear_velocity=0.05,
        angular_velocity=0.0,
        linear_acceleration=0.0,
        angular_acceleration=0.0,
        action=0.1,
        d_action=1.0,
    )
    termination = Termination(
        enabled=True,
        position_threshold=max(20 * rotor_distance, _RECOVERY_DISTANCE),
        linear_velocity_threshold=10.0,
        angular_velocity_threshold=35.0,
    )
    return _mdp(max_position, reward, termination), _trajectory(hover=1.0)


def _raptor(rotor_distance: float) -> tuple[Mdp, Trajectory]:
    reward = Reward(
        non_negative=False,
        scale=1.0,
        constant=1.5,
        termination_penalty=-100.0,
        position=1.0,
        position_clip=0.0,
        orientation=0.1,
        linear_velocity=0.0,
        angular_velocity=0.0,
        linear_acceleration=0.0,
        angular_acceleration=0.0,
        action=0.0,
        d_action=1.0,
    )
    termination = Termination(
        enabled=True,
        position_threshold=20 * rotor_distance,
        linear_velocity_threshold=2.0,
        angular_velocity_threshold=35.0,
    )
    return _mdp(10 * rotor_distance, reward, termination), _trajectory(hover=0.5)


def _mdp(max_position: float, reward: Reward, termination: Termination) -> Mdp:
    return Mdp(
        init=Init(
            guidance=0.1,
            max_position=max_position,
            max_angle=math.pi / 2,
            max_linear_velocity=1.0,
            max_angular_velocity=1.0,
            relative_rpm=True,
            min_rpm=-1.0,
            max_rpm=0.0,
        ),
        reward=reward,
        observation_noise=ObservationNoise(position=0.0, orientation=0.0, linear_velocity=0.0, angular_velocity=0.0),
        action_noise=ActionNoise(normalized_rpm=0.0),
        termination=termination,
    )


def _trajectory(hover: float) -> Trajectory:
    langevin = Langevin(gamma=1.0, omega=2.0, sigma=0.5, alpha=0.01)
    return Trajectory(mixture=np.array([hover, 1 - hover]), langevin=langevin)


def _zero_normal() -> Normal:
    return Normal(mean=np.array(0.0), std=np.array(0.0))
