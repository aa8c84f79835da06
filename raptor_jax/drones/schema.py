"""Between the objects of a drone's file and the `Drone` tree.

A file mirrors the tree key by key, with L2F's own names, so reading and writing are one walk over its dataclasses. What
L2F's schema has and our simulator has no use for is written as a constant. A person who writes a drone by hand may
write less: one value for four equal rotors, an inertia by its diagonal, and nothing of what is nearly always the same.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np

from raptor_jax.drones.parameters import FieldSpecification, field_specification
from raptor_jax.drones.validation import FieldError, check_value, wrong_value

_DERIVED = (
    "dynamics.rotor_thrust_coefficients",
    "dynamics.rotor_time_constants_falling",
    "dynamics.J_inv",
    "dynamics.hovering_throttle_relative",
    "mdp",
    "disturbances",
    "trajectory",
)
"""What a file may lack because it follows from the rest, or from the default task: it is read as None."""

_ASSUMED: dict[str, Any] = {
    "dynamics.rotor_thrust_directions": [0.0, 0.0, 1.0],
    "dynamics.rotor_torque_directions": [[0.0, 0.0, -1.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.0, 0.0, 1.0]],
    "dynamics.gravity": [0.0, 0.0, -9.81],
    "dynamics.action_limit": {"min": 0.0, "max": 1.0},
    "integration": {"dt": 0.01},
}
"""What a file may lack because nearly every drone has the same, as L2F's nominal one."""

_SAME_FOR_ALL_ROTORS = (
    "dynamics.rotor_thrust_directions",
    "dynamics.rotor_thrust_coefficients",
    "dynamics.rotor_torque_constants",
    "dynamics.rotor_time_constants_rising",
    "dynamics.rotor_time_constants_falling",
)
"""Fields in which one rotor's value may stand for all four."""

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

_MOST_STRANGERS = 100
"""Unknown keys of a group that are looked at for a misspelt one."""


def read_group(group: type, values: Any, name: str) -> Any:
    """Returns a dataclass of the tree from its object; what is missing and follows from the rest is None.

    Args:
        group: the dataclass.
        values: the object, as JSON or YAML holds it.
        name: the group's dotted name, "" for the whole drone.

    Raises:
        FieldError: a field is missing or wrong, or seems to stand under a misspelt name. Other unknown keys are
            ignored, as L2F does.
    """
    if not isinstance(values, dict):
        raise wrong_value(name, values, "should be an object")
    prefix = f"{name}." if name else ""
    fields = dataclasses.fields(group)
    known = {*(field.name for field in fields), *_L2F_ONLY.get(name, ())}
    strangers = [key for key in values if key not in known][:_MOST_STRANGERS]
    for field in fields:
        if field.name not in values and (alike := difflib.get_close_matches(field.name, strangers, 1, cutoff=0.8)):
            raise FieldError(prefix + alike[0], "is no field of a drone", f"write {field.name}, if that is meant")
    return group(**{field.name: _read_field(field, values, prefix + field.name) for field in fields})


def write_group(group: Any, name: str) -> dict[str, Any]:
    """Returns a dataclass of the tree as an object, with the keys that only L2F has."""
    prefix = f"{name}." if name else ""
    content = {}
    for field in dataclasses.fields(group):
        specification = field_specification(field)
        value = getattr(group, field.name)
        if specification is None:
            content[field.name] = write_group(value, prefix + field.name)
        else:
            content[field.name] = np.asarray(value, dtype=specification.kind).tolist()
    return content | _L2F_ONLY.get(name, {})


def is_number(value: Any) -> bool:
    """Returns whether a value of a file is a number."""
    return _has_shape(value, (), float)


def _read_field(field: dataclasses.Field[Any], values: Mapping[str, Any], name: str) -> Any:
    specification = field_specification(field)
    if field.name in values:
        value = values[field.name]
    else:
        if name in _DERIVED:
            return None
        if name not in _ASSUMED:
            raise FieldError(name, "is missing", f"add {_expected(name, specification)}")
        value = _ASSUMED[name]
    if specification is None:
        assert isinstance(field.type, type)
        return read_group(field.type, value, name)
    value = _spelled_out(name, value, specification)
    if not _has_shape(value, specification.shape, specification.kind):
        raise wrong_value(name, value, f"should be {_expected(name, specification)}")
    try:
        array: np.ndarray = np.array(value, dtype=specification.kind)
    except OverflowError:
        raise wrong_value(name, value, f"should be finite ({specification.unit})") from None
    check_value(name, array, specification)
    return array


def _spelled_out(name: str, value: Any, specification: FieldSpecification) -> Any:
    """Returns the value in L2F's form, where it is written in a short one."""
    if name in _SAME_FOR_ALL_ROTORS and _has_shape(value, specification.shape[1:], specification.kind):
        return [value] * specification.shape[0]
    if name == "dynamics.J" and _has_shape(value, (3,), float):
        return [[moment if row == column else 0 for column in range(3)] for row, moment in enumerate(value)]
    return value


def _has_shape(value: Any, shape: tuple[int, ...], kind: type) -> bool:
    if shape:
        return isinstance(value, list) and len(value) == shape[0] and all(_has_shape(v, shape[1:], kind) for v in value)
    if kind is bool:
        return isinstance(value, bool)
    return isinstance(value, int | float) and not isinstance(value, bool)


def _expected(name: str, specification: FieldSpecification | None) -> str:
    if specification is None:
        return "an object, as in L2F's files"
    if specification.kind is bool:
        return f"true or false ({specification.unit})"
    size = " x ".join(map(str, specification.shape))
    text = f"{size} numbers ({specification.unit})" if size else f"a number ({specification.unit})"
    if name in _SAME_FOR_ALL_ROTORS:
        return f"{text}, or those of one rotor for all"
    return f"{text}, or its 3 diagonal entries" if name == "dynamics.J" else text
