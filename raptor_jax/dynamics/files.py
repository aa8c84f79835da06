"""Drones in and out of L2F's JSON files.

A file mirrors the `Drone` tree key by key, so reading and writing are one walk over its dataclasses. What L2F's schema
has and our simulator has no use for is written as a constant, so that `l2f` and RLtools load our files unchanged; they
ignore `metadata`, which says how a drone was made.
"""

import dataclasses
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from raptor_jax.config import EnvironmentConfig
from raptor_jax.dynamics.parameters import (
    Drone,
    Dynamics,
    FieldSpecification,
    field_specification,
    hovering_throttle,
    stack,
    thrust_to_weight,
)
from raptor_jax.dynamics.platforms import crazyflie
from raptor_jax.dynamics.tasks import for_training, no_disturbances, task
from raptor_jax.dynamics.validation import (
    FieldError,
    check_body,
    check_drone,
    check_thrust,
    check_value,
    wrong_value,
)
from raptor_jax.errors import UserError
from raptor_jax.storage import Unreadable, read_object, write_text

_MAX_BYTES = 1 << 20
"""A drone's file holds 3 kB; what is much larger is something else."""

_DERIVED = (
    "dynamics.rotor_thrust_coefficients",
    "dynamics.J_inv",
    "dynamics.hovering_throttle_relative",
    "mdp",
    "disturbances",
    "trajectory",
)
"""What a file may lack: it follows from the rest, or from the default task."""

_L2F_ONLY: dict[str, dict[str, Any]] = {
    "mdp.reward": {"position_error_integral": 0.0},
    "mdp.observation_noise": {"imu_acceleration": 0.0},
    "mdp.termination": {"position_integral_threshold": 10000.0, "orientation_integral_threshold": 50000.0},
    "": {
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
    },
}
"""Keys by group that L2F demands and our simulator has no use for, with the values that switch them off."""


class DroneFile(NamedTuple):
    """One drone as it lies on disk."""

    name: str
    """The file's name without its ending."""
    path: Path
    drone: Drone
    metadata: dict[str, Any]
    """What the file says of the drone's making; {} where it says nothing."""


def load_drone(path: str | Path) -> DroneFile:
    """Reads and checks one drone.

    `J_inv` and `hovering_throttle_relative` are computed where they are missing; a missing thrust curve becomes the
    Crazyflie's, scaled to `metadata.thrust_to_weight`; a missing `mdp` or `trajectory` becomes the default task's,
    missing `disturbances` become none. Everything else must be there. Unknown keys are ignored, as L2F does.

    Raises:
        UserError: no file, no JSON, or a field that is missing or wrong; one line that names the file and the field.
    """
    path = Path(path)
    try:
        content = read_object(path, _MAX_BYTES)
    except Unreadable as error:
        raise UserError(f"{path}: {error}; name a drone's JSON file (3 kB), or take this one away") from None
    try:
        metadata = content.get("metadata", {})
        _check_metadata(metadata)
        drone = _complete(_read_group(Drone, content, ""), metadata)
        _check_supported(content)
        check_drone(drone)
    except FieldError as error:
        raise UserError(f"{path}: {error}") from None
    return DroneFile(path.stem, path, drone, metadata)


def load_directory(directory: str | Path, num: int | None = None) -> list[DroneFile]:
    """Reads the drones of a directory's `*.json` files, ordered by number.

    Args:
        directory: where the files lie; its sub-directories are not searched.
        num: how many to read, the first ones; None reads all.

    Raises:
        UserError: no such directory, too few files in it, or a file that `load_drone` rejects.
    """
    paths = drone_paths(directory)
    if not paths:
        raise UserError(f"{directory}: holds no *.json files; name a directory of drones, or sample some into it")
    if num is not None and num > len(paths):
        raise UserError(f"{directory}: holds {len(paths)} drones, fewer than the {num} asked for; ask for fewer")
    return [load_drone(path) for path in paths[:num]]


def drone_paths(directory: str | Path) -> list[Path]:
    """Returns the `*.json` files of a directory, ordered by number.

    Raises:
        UserError: there is no such directory.
    """
    directory = Path(directory)
    if not os.path.isdir(directory):
        raise UserError(f"{directory}: no such directory; name one that holds drones as *.json files")
    return sorted(directory.glob("*.json"), key=by_number)


def stack_for_training(files: Sequence[DroneFile], environment: EnvironmentConfig) -> Drone:
    """Returns the drones with the task that the configuration asks for, as one tree with a leading teacher axis.

    Raises:
        UserError: a drone does not fit the configuration; see `tasks.for_training`.
    """
    return stack([for_training(file.drone, environment, str(file.path)) for file in files])


def save_drone(path: str | Path, drone: Drone, metadata: Mapping[str, Any]) -> None:
    """Checks a drone and writes it in L2F's schema at full precision; the file appears whole or not at all.

    Raises:
        UserError: the drone is not a valid one, or the file cannot be written.
    """
    path = Path(path)
    try:
        check_drone(drone)
    except FieldError as error:
        raise UserError(f"{path}: not written: {error}") from None
    try:
        write_text(path, to_json(drone, metadata))
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; choose another directory") from None


def to_json(drone: Drone, metadata: Mapping[str, Any]) -> str:
    """Returns the text of a drone's file; key order is L2F's."""
    content = _write_group(drone, "")
    content["trajectory"] = {"MIXTURE_N": 2} | content.pop("trajectory")
    return json.dumps({**content, "metadata": dict(metadata)}, allow_nan=False) + "\n"


def by_number(path: Path) -> tuple[list[str | int], str]:
    """Returns what orders the files of drones: 2.json comes before 10.json."""
    # Splitting at runs of digits puts text at even and numbers at odd places, so that like is compared with like.
    pieces: list[str | int] = [*re.split(r"(\d+)", path.stem)]
    pieces[1::2] = [int(piece) for piece in pieces[1::2]]
    return pieces, path.name


def _check_metadata(metadata: Any) -> None:
    """Refuses numbers that JSON or a float cannot hold; the rest of the metadata is not ours to judge."""
    if not isinstance(metadata, dict):
        raise wrong_value("metadata", metadata, "should be an object", "write {} or leave it out")
    left = [("metadata", metadata)]
    while left:
        name, value = left.pop()
        if isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            left += [(f"{name}.{key}" if len(name) < 100 else name, inner) for key, inner in items]
        elif isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
            raise wrong_value(name, value, "should be finite")


def _read_group(group: type, values: Any, name: str) -> Any:
    """Returns a dataclass of the tree from its JSON object; a missing field is None if it can be derived."""
    if not isinstance(values, dict):
        raise wrong_value(name, values, "should be an object")
    prefix = f"{name}." if name else ""
    return group(**{field.name: _read_field(field, values, prefix + field.name) for field in dataclasses.fields(group)})


def _read_field(field: dataclasses.Field, values: dict[str, Any], name: str) -> Any:
    specification = field_specification(field)
    if field.name not in values:
        if name in _DERIVED:
            return None
        raise FieldError(name, "is missing", f"add {_expected(specification)}")
    value = values[field.name]
    if specification is None:
        assert isinstance(field.type, type)
        return _read_group(field.type, value, name)
    if not _has_shape(value, specification.shape, specification.kind):
        raise wrong_value(name, value, f"should be {_expected(specification)}")
    try:
        array: np.ndarray = np.array(value, dtype=specification.kind)
    except OverflowError:
        raise wrong_value(name, value, f"should be finite ({specification.unit})") from None
    check_value(name, array, specification)
    return array


def _has_shape(value: Any, shape: tuple[int, ...], kind: type) -> bool:
    if shape:
        return isinstance(value, list) and len(value) == shape[0] and all(_has_shape(v, shape[1:], kind) for v in value)
    if kind is bool:
        return isinstance(value, bool)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _expected(specification: FieldSpecification | None) -> str:
    if specification is None:
        return "an object, as in L2F's files"
    if specification.kind is bool:
        return f"true or false ({specification.unit})"
    size = " x ".join(map(str, specification.shape))
    return f"{size} numbers ({specification.unit})" if size else f"a number ({specification.unit})"


def _complete(drone: Drone, metadata: Mapping[str, Any]) -> Drone:
    """Fills in what the file lacked."""
    drone = drone.replace(dynamics=_complete_dynamics(drone.dynamics, metadata))
    default_mdp, default_trajectory = task("default", drone.dynamics)
    if drone.disturbances is None:
        drone = drone.replace(disturbances=no_disturbances())
    if drone.mdp is None:
        drone = drone.replace(mdp=default_mdp)
    if drone.trajectory is None:
        drone = drone.replace(trajectory=default_trajectory)
    return drone


def _complete_dynamics(dynamics: Dynamics, metadata: Mapping[str, Any]) -> Dynamics:
    check_body(dynamics)
    if dynamics.rotor_thrust_coefficients is None:
        dynamics = _with_nominal_thrust(dynamics, metadata)
    check_thrust(dynamics)
    if dynamics.J_inv is None:
        dynamics = dynamics.replace(J_inv=np.linalg.inv(dynamics.J))
    if dynamics.hovering_throttle_relative is None:
        dynamics = dynamics.replace(hovering_throttle_relative=hovering_throttle(dynamics))
    return jax.tree.map(np.asarray, dynamics)


def _with_nominal_thrust(dynamics: Dynamics, metadata: Mapping[str, Any]) -> Dynamics:
    """Gives every rotor the Crazyflie's thrust curve, scaled to the recorded thrust-to-weight."""
    if "thrust_to_weight" not in metadata:
        problem = "is missing, and so is metadata.thrust_to_weight"
        raise FieldError("dynamics.rotor_thrust_coefficients", problem, "add one of the two")
    ratio = metadata["thrust_to_weight"]
    if not _has_shape(ratio, (), float) or not 1 <= ratio < np.inf:
        reason = "should be a number of at least 1, because dynamics.rotor_thrust_coefficients is missing"
        raise wrong_value("metadata.thrust_to_weight", ratio, reason)
    nominal = dynamics.replace(rotor_thrust_coefficients=crazyflie().rotor_thrust_coefficients)
    scale = ratio / thrust_to_weight(nominal)
    return nominal.replace(rotor_thrust_coefficients=scale * nominal.rotor_thrust_coefficients)


def _check_supported(content: Mapping[str, Any]) -> None:
    weight = content.get("mdp", {}).get("reward", {}).get("position_error_integral", 0)
    if weight != 0:
        reason = "is not supported: the simulator keeps no integral of the position error"
        raise wrong_value("mdp.reward.position_error_integral", weight, reason, "set it to 0")


def _write_group(group: Any, name: str) -> dict[str, Any]:
    """Returns a dataclass of the tree as a JSON object, with the keys that only L2F has."""
    prefix = f"{name}." if name else ""
    content = {}
    for field in dataclasses.fields(group):
        specification = field_specification(field)
        value = getattr(group, field.name)
        if specification is None:
            content[field.name] = _write_group(value, prefix + field.name)
        else:
            content[field.name] = np.asarray(value, dtype=specification.kind).tolist()
    return content | _L2F_ONLY.get(name, {})
