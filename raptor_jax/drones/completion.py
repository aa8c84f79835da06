"""The fields that a drone's file may omit, computed from the others; the result is not checked."""

import jax
import numpy as np

from raptor_jax.drones import platforms
from raptor_jax.drones.parameters import Drone, Dynamics, hovering_throttle, thrust_to_weight
from raptor_jax.drones.schema import ParsedDrone
from raptor_jax.drones.tasks import no_disturbances, task


def complete(parsed: ParsedDrone) -> Drone:
    """Returns the drone with all fields.

    Missing falling time constants are the rising ones. A missing thrust curve is the Crazyflie's, scaled to
    `metadata.thrust_to_weight`. A missing `J_inv` or `hovering_throttle_relative` is computed. A missing `mdp` or
    `trajectory` is the default task's; missing `disturbances` are none.

    If a field cannot be computed, because the fields that determine it are invalid, it is NaN or infinite, and
    `validation.check_drone` reports the cause.
    """
    drone = parsed.drone
    with np.errstate(all="ignore"):
        dynamics = _complete_dynamics(drone.dynamics, parsed.thrust_to_weight)
        # The hovering throttle belongs to the task as in `tasks.with_task`: RLtools' files have the nominal drone's.
        if drone.mdp is None or dynamics.hovering_throttle_relative is None:
            dynamics = dynamics.replace(hovering_throttle_relative=hovering_throttle(dynamics))
        mdp, trajectory = task("default", dynamics)
    return Drone(
        dynamics=jax.tree.map(np.asarray, dynamics),
        integration=drone.integration,
        mdp=mdp if drone.mdp is None else drone.mdp,
        disturbances=no_disturbances() if drone.disturbances is None else drone.disturbances,
        trajectory=trajectory if drone.trajectory is None else drone.trajectory,
    )


def _complete_dynamics(dynamics: Dynamics, ratio: float | None) -> Dynamics:
    """Returns the dynamics with all fields but the hovering throttle."""
    if dynamics.rotor_time_constants_falling is None:
        dynamics = dynamics.replace(rotor_time_constants_falling=dynamics.rotor_time_constants_rising)
    if ratio is not None:
        nominal = dynamics.replace(rotor_thrust_coefficients=platforms.crazyflie().rotor_thrust_coefficients)
        scale = ratio / thrust_to_weight(nominal)
        dynamics = nominal.replace(rotor_thrust_coefficients=scale * nominal.rotor_thrust_coefficients)
    if dynamics.J_inv is None:
        dynamics = dynamics.replace(J_inv=_inverse(dynamics.J))
    return dynamics


def _inverse(matrix: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        return np.full_like(matrix, np.nan)
