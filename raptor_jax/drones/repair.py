"""Recomputes the fields of a drone's file that its other fields determine."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from raptor_jax.drones.fields import FieldError, Leaf, derived_names, leaves, shown
from raptor_jax.drones.files import find_drone, from_content, read_content
from raptor_jax.drones.parameters import Dynamics
from raptor_jax.errors import UserError
from raptor_jax.utils.files import write_text, writing

_TOLERANCE = 1e-6
"""Largest relative difference of a derived value that is left as it is."""


def write_repaired(drone: str | Path, output: Path) -> list[str]:
    """Writes a drone's file as JSON in which every derived field agrees with the others; nothing else changes.

    Args:
        drone: a file, or the name of a platform.
        output: the file to write, which must not exist.

    Returns:
        A line for each field that was changed.

    Raises:
        UserError: the file cannot be read, a field that is not derived is invalid, or the output cannot be written.
    """
    if output.suffix.lower() != ".json":
        raise UserError(f"--repair {output}: is not a JSON file; name one that ends in .json")
    if os.path.lexists(output):
        raise UserError(f"--repair {output}: already exists; name another file, or remove it")
    path = find_drone(drone)
    content, changes = _correct(read_content(path), path)
    try:
        text = json.dumps(content, allow_nan=False)
    except (ValueError, RecursionError):
        problem = "holds NaN or infinity, which JSON cannot represent, or is nested too deeply"
        raise UserError(f"{path}: {problem}; remove these values") from None
    with writing(output, "name another file", "--repair"):
        write_text(output, text + "\n")
    return changes


def _correct(content: dict[str, Any], path: Path) -> tuple[dict[str, Any], list[str]]:
    """Returns the object of a file with correct derived fields, and a line for each that was replaced."""
    given, names = content.get("dynamics", {}), list(derived_names(Dynamics))
    rest = {key: value for key, value in given.items() if key not in names} if isinstance(given, dict) else given
    found = dict(leaves(from_content(path, content | {"dynamics": rest}).drone.dynamics))
    assert isinstance(given, dict)  # from_content accepts nothing else
    wrong = [name for name in names if name in given and not _agrees(name, given[name], found[name])]
    corrected = given | {name: found[name].value.tolist() for name in wrong}
    changes = [f"dynamics.{name}: was {shown(given[name])}, is {shown(found[name].value)}" for name in wrong]
    return content | {"dynamics": corrected}, changes


def _agrees(name: str, given: object, computed: Leaf) -> bool:
    try:
        value = computed.specification.parse(name, given)
    except FieldError:
        return False
    return bool(np.abs(value - computed.value).max() <= _TOLERANCE * np.abs(computed.value).max())
