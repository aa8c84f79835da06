"""Parses the content of a drone's file, JSON or YAML.

A file mirrors the `Drone` tree key by key, with L2F's names. A file written by hand may be shorter: `parameters`
declares for each field whether it may be omitted, and whether it has a short form.
"""

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from raptor_jax.drones.fields import FieldError, Specification, parse, wrong_value
from raptor_jax.drones.parameters import Drone

_RATIO = Specification((), "thrust-to-weight, because dynamics.rotor_thrust_coefficients is missing", least=1)
"""A thrust-to-weight ratio in the metadata, where the thrust curve is computed from it."""


class ParsedDrone(NamedTuple):
    """The content of a drone's file; every value has its shape and type, and is within its range."""

    drone: Drone
    """None in place of the fields that the file omits and `completion` computes."""
    metadata: dict[str, Any]
    thrust_to_weight: float | None
    """`metadata.thrust_to_weight` where the file omits the thrust curve, which is then computed from it; else None."""


def parse_drone(content: Mapping[str, Any]) -> ParsedDrone:
    """Parses the object of a drone's file.

    Raises:
        FieldError: a field is missing, invalid or apparently misspelt; other unknown keys are ignored, as in L2F.
    """
    metadata = _parse_metadata(content.get("metadata", {}))
    drone = parse(Drone, content)
    ratio = None
    if drone.dynamics.rotor_thrust_coefficients is None:
        if "thrust_to_weight" not in metadata:
            problem = "is missing, and so is metadata.thrust_to_weight"
            raise FieldError("dynamics.rotor_thrust_coefficients", problem, "add one of the two")
        ratio = float(_RATIO.parse("metadata.thrust_to_weight", metadata["thrust_to_weight"]))
    weight = content.get("mdp", {}).get("reward", {}).get("position_error_integral", 0)
    if weight != 0:
        reason = "is not supported: the simulator has no integral of the position error"
        raise wrong_value("mdp.reward.position_error_integral", weight, reason, "set it to 0")
    return ParsedDrone(drone, metadata, ratio)


def _parse_metadata(metadata: object) -> dict[str, Any]:
    """Returns the metadata; refuses only numbers that JSON or a float cannot represent."""
    if not isinstance(metadata, dict):
        raise wrong_value("metadata", metadata, "should be an object", "write {} or omit it")
    remaining: list[tuple[str, object]] = [("metadata", metadata)]
    while remaining:
        name, value = remaining.pop()
        if isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            remaining += [(f"{name}.{key}" if len(name) < 100 else name, inner) for key, inner in items]
        elif isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
            raise wrong_value(name, value, "should be finite")
    return metadata
