"""What every drone must satisfy, whoever wrote it: ranges of single fields, and relations between them."""

import dataclasses
import reprlib
import textwrap
from typing import Any

import numpy as np

from raptor_jax.drones.parameters import (
    Drone,
    Dynamics,
    FieldSpecification,
    Init,
    field_specification,
    rotor_thrust,
    thrust_to_weight,
    weight,
)

_SHOWN_CHARACTERS = 100
_UNIT_TOLERANCE = 1e-4
_INVERSE_TOLERANCE = 1e-4
_SYMMETRY_TOLERANCE = 1e-6
_MIXTURE_TOLERANCE = 1e-6


class FieldError(ValueError):
    """One field that is wrong, in one line: its dotted name, what is wrong with it, and the way out."""

    def __init__(self, field: str, problem: str, way_out: str):
        super().__init__(f"{field}: {problem}; {way_out}")


def wrong_value(field: str, value: Any, reason: str, way_out: str = "correct it, or take the file away") -> FieldError:
    """Returns the error of a value that is there and cannot be used."""
    shown = (
        np.array2string(value, precision=6, separator=", ") if isinstance(value, np.ndarray) else reprlib.repr(value)
    )
    return FieldError(field, f"{textwrap.shorten(shown, _SHOWN_CHARACTERS, placeholder=' ...')} {reason}", way_out)


def check_value(field: str, value: np.ndarray, specification: FieldSpecification) -> None:
    """Checks one field: finite, and in its range.

    Raises:
        FieldError: it is not.
    """
    unit = specification.unit
    # The simulator computes in float32.
    with np.errstate(over="ignore"):
        finite = np.all(np.isfinite(value.astype(np.float32)))
    if not finite:
        raise wrong_value(field, value, f"should be finite in float32 ({unit})")
    if np.any(value <= specification.above):
        raise wrong_value(field, value, f"should be above {specification.above:g} ({unit})")
    if np.any(value < specification.least):
        raise wrong_value(field, value, f"should be at least {specification.least:g} ({unit})")
    if np.any(value > specification.most):
        raise wrong_value(field, value, f"should be at most {specification.most:g} ({unit})")


def check_drone(drone: Drone) -> None:
    """Checks every field and every relation of a complete drone.

    Raises:
        FieldError: the first that fails.
    """
    _check_values(drone, "")
    check_body(drone.dynamics)
    check_thrust(drone.dynamics)
    _check_inverse(drone.dynamics)
    _check_rotor_range(drone.mdp.init)
    mixture = drone.trajectory.mixture
    if abs(np.sum(mixture) - 1) > _MIXTURE_TOLERANCE:
        raise wrong_value("trajectory.mixture", mixture, "should sum to 1 (probabilities of hover and of Langevin)")


def check_body(dynamics: Dynamics) -> None:
    """Checks inertia, gravity, directions and action limits, which the derived fields rest on.

    Raises:
        FieldError: the first that fails.
    """
    limit = dynamics.action_limit
    if not limit.min < limit.max:
        raise wrong_value("dynamics.action_limit.min", limit.min, f"should be below action_limit.max {limit.max}")
    if not dynamics.gravity[2] < 0:
        raise wrong_value("dynamics.gravity", dynamics.gravity, "should point down (m/s^2)", "write [0, 0, -9.81]")
    for name in ("rotor_thrust_directions", "rotor_torque_directions"):
        directions = getattr(dynamics, name)
        if np.any(np.abs(np.linalg.norm(directions, axis=-1) - 1) > _UNIT_TOLERANCE):
            raise wrong_value(f"dynamics.{name}", directions, "should be unit vectors", "divide each by its length")
    inertia = dynamics.J
    asymmetry = np.abs(inertia - inertia.T).max()
    if asymmetry > _SYMMETRY_TOLERANCE * np.abs(inertia).max() or np.min(np.linalg.eigvalsh(inertia)) <= 0:
        raise wrong_value("dynamics.J", inertia, "should be symmetric and positive definite (kg m^2)")


def check_thrust(dynamics: Dynamics) -> None:
    """Checks that the rotors can carry the weight and let the drone descend, so that it has a hovering throttle.

    Raises:
        FieldError: they cannot.
    """
    coefficients = dynamics.rotor_thrust_coefficients
    if np.any(dynamics.rotor_thrust_directions[:, 2] <= 0):
        directions = dynamics.rotor_thrust_directions
        raise wrong_value("dynamics.rotor_thrust_directions", directions, "should point up (z above 0)")
    ratio = float(thrust_to_weight(dynamics))
    if ratio < 1:
        reason = f"give a thrust-to-weight of {ratio:.4g}, which should be at least 1"
        way_out = "correct the coefficients or dynamics.mass"
        raise wrong_value("dynamics.rotor_thrust_coefficients", coefficients, reason, way_out)
    at_rest = float(np.sum(rotor_thrust(dynamics, dynamics.action_limit.min)))
    if at_rest >= weight(dynamics):
        reason = f"lift more than the weight at action_limit.min ({at_rest:.4g} N), so that the drone cannot descend"
        way_out = "lower the constant coefficients or action_limit.min"
        raise wrong_value("dynamics.rotor_thrust_coefficients", coefficients, reason, way_out)


def _check_values(group: Any, prefix: str) -> None:
    for field in dataclasses.fields(group):
        specification = field_specification(field)
        value = getattr(group, field.name)
        if specification is None:
            _check_values(value, f"{prefix}{field.name}.")
        else:
            check_value(f"{prefix}{field.name}", value, specification)


def _check_inverse(dynamics: Dynamics) -> None:
    if np.abs(dynamics.J @ dynamics.J_inv - np.eye(3)).max() > _INVERSE_TOLERANCE:
        way_out = "leave J_inv out, and it is computed"
        raise wrong_value("dynamics.J_inv", dynamics.J_inv, "should be the inverse of dynamics.J", way_out)


def _check_rotor_range(init: Init) -> None:
    if not init.relative_rpm:
        return
    if not -1 <= init.min_rpm <= init.max_rpm <= 1:
        reason = f"and max_rpm {init.max_rpm} should be ordered and in [-1, 1], because relative_rpm is true"
        raise wrong_value("mdp.init.min_rpm", init.min_rpm, reason)
