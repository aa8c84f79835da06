"""Random drones derived from the Crazyflie (L2F `10_sample_initial_parameters.h`).

Drone i depends only on the seed and on i: drawing more drones later does not change the first ones.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from raptor_jax.config import SamplingConfig
from raptor_jax.drones.fields import FieldError
from raptor_jax.drones.files import drone_paths, save_drone, to_json
from raptor_jax.drones.parameters import (
    Disturbances,
    Drone,
    Dynamics,
    Integration,
    Normal,
    hovering_throttle,
    thrust_to_weight,
    torque_to_inertia,
)
from raptor_jax.drones.platforms import crazyflie
from raptor_jax.drones.tasks import task
from raptor_jax.drones.validation import check_thrust
from raptor_jax.errors import UserError
from raptor_jax.utils.files import Unreadable, read_bytes, writing

_DT = 0.01
"""s, the integration step of every sampled drone, as in L2F."""


def sample_drone(config: SamplingConfig, index: int) -> tuple[Drone, dict[str, Any]]:
    """Samples one drone.

    Args:
        config: the ranges, the seed and the task.
        index: number of the drone, from 0.

    Returns:
        The drone with the task of `config.task`, and its metadata: seed, index and the sampled quantities.

    Raises:
        UserError: the ranges allow a drone whose idle thrust exceeds its weight.
    """
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([config.seed, index])))
    sampled = _sample_quantities(config, random)
    dynamics = _build_dynamics(sampled)
    try:
        check_thrust(dynamics)
    except FieldError:
        limit = config.thrust_to_weight_max
        raise UserError(
            f"sampling.thrust_to_weight_max: {limit}: the idle thrust of drone {index} exceeds its weight; lower it"
        ) from None
    dynamics = dynamics.replace(hovering_throttle_relative=hovering_throttle(dynamics))
    mdp, trajectory = task(config.task, dynamics)
    disturbances = Disturbances(
        random_force=Normal(mean=0.0, std=sampled["disturbance_force_std"]), random_torque=Normal(mean=0.0, std=0.0)
    )
    drone = Drone(dynamics, Integration(dt=_DT), mdp, disturbances, trajectory)
    return jax.tree.map(np.asarray, drone), {"seed": config.seed, "index": index, **sampled}


def write_drones(directory: str | Path, config: SamplingConfig, num: int) -> bool:
    """Samples drones 0 to num - 1 and writes them as `0000.json`, `0001.json` and so on; existing files are kept.

    Returns:
        True if files were written, False if all of them existed with the same bytes.

    Raises:
        UserError: the directory contains other drones, or cannot be written.
    """
    directory = Path(directory)
    drones = {directory / f"{index:04d}.json": sample_drone(config, index) for index in range(num)}
    with writing(directory, "choose another directory"):
        directory.mkdir(parents=True, exist_ok=True)
    present = set(drone_paths(directory))
    missing = drones.keys() - present
    others = [path for path in drones.keys() & present if not _holds(path, to_json(*drones[path]))]
    if missing:
        others += present - drones.keys()
    if others:
        raise UserError(
            f"{min(others)}: is not a drone of this seed and these ranges; choose an empty directory, or train on the"
            " drones of this one without sampling"
        )
    for path in sorted(missing):
        save_drone(path, *drones[path])
    return bool(missing)


def _sample_quantities(config: SamplingConfig, random: np.random.Generator) -> dict[str, float]:
    """Draws the random numbers of one drone, in L2F's order."""

    ranges = config.ranges
    thrust_to_weight = random.uniform(*ranges["thrust_to_weight"])
    # Uniform in size; with a uniform mass nearly all drones would be large.
    size = random.uniform(np.cbrt(config.mass_min), np.cbrt(config.mass_max))
    mass = size**3
    torque_to_inertia = random.uniform(*ranges["torque_to_inertia"])
    arm_size_deviation = _sample_deviation(config, random)
    rotor_torque_constant = random.uniform(*ranges["rotor_torque_constant"])
    # L2F's formula, which lacks g: three deviations are r / 9.81 of this share of the surplus thrust, r =
    # thrust-to-weight.
    disturbance = random.uniform(0, config.disturbance_force_max * (thrust_to_weight - 1))
    return {
        "thrust_to_weight": thrust_to_weight,
        "torque_to_inertia": torque_to_inertia,
        "mass": mass,
        "size": size,
        "arm_size_deviation": arm_size_deviation,
        "rotor_torque_constant": rotor_torque_constant,
        "disturbance_force_std": disturbance * thrust_to_weight * mass / 3,
        "rotor_time_constant_rising": random.uniform(*ranges["rotor_time_constant_rising"]),
        "rotor_time_constant_falling": random.uniform(*ranges["rotor_time_constant_falling"]),
    }


def _sample_deviation(config: SamplingConfig, random: np.random.Generator) -> float:
    deviation = config.mass_size_deviation
    if config.mass_size_deviation_law == "l2f":
        # L2F passes (-deviation, deviation) to a normal distribution as mean and standard deviation.
        return random.normal(-deviation, deviation)
    return random.uniform(-deviation, deviation)


def _build_dynamics(sampled: dict[str, float]) -> Dynamics:
    """Returns the Crazyflie, scaled to the sampled quantities; the hovering throttle is still the nominal one."""
    dynamics = crazyflie()
    nominal_mass = dynamics.mass
    dynamics = dynamics.replace(
        mass=sampled["mass"],
        rotor_torque_constants=np.full(4, sampled["rotor_torque_constant"]),
        rotor_time_constants_rising=np.full(4, sampled["rotor_time_constant_rising"]),
        rotor_time_constants_falling=np.full(4, sampled["rotor_time_constant_falling"]),
    )
    thrust_scale = sampled["thrust_to_weight"] / thrust_to_weight(dynamics)
    arm_scale = np.cbrt(sampled["mass"] / nominal_mass) * _size_factor(sampled["arm_size_deviation"])
    dynamics = dynamics.replace(
        rotor_thrust_coefficients=thrust_scale * dynamics.rotor_thrust_coefficients,
        rotor_positions=arm_scale * dynamics.rotor_positions,
    )
    # The ratio already includes the new thrust and arms; scaling the inertia, its denominator, corrects it.
    inertia_scale = torque_to_inertia(dynamics) / sampled["torque_to_inertia"]
    return dynamics.replace(J=inertia_scale * dynamics.J, J_inv=dynamics.J_inv / inertia_scale)


def _size_factor(deviation: float) -> float:
    """Returns the factor of an arm size deviation: 1 + x, or 1 / (1 - x) where x < 0, so that it stays positive."""
    return 1 + deviation if deviation >= 0 else 1 / (1 - deviation)


def _holds(path: Path, text: str) -> bool:
    """Returns whether a file can be read and has this content."""
    content = text.encode()
    try:
        return read_bytes(path, len(content)) == content
    except Unreadable:
        return False
