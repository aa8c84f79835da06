"""Recomputes the fields of a drone's file that its other fields determine."""

import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from raptor_jax.drones.fields import FieldError, Leaf, derived_names, leaves, shown
from raptor_jax.drones.files import find_drone, from_content, read_content
from raptor_jax.drones.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.utils.files import write_text, writing

_TOLERANCE = 1e-6
"""Largest relative difference of a derived value that is left as it is."""


def write_repaired(drone: str | Path, output: Path) -> list[str]:
    """Writes a drone's file as JSON in which every derived field agrees with the others; all else stays as it is.

    Args:
        drone: a file, or the name of a platform.
        output: the file to write, which must not exist.

    Returns:
        A line for each field that was changed.

    Raises:
        UserError: the file cannot be read, a field that is not derived is wrong, or the output cannot be written.
    """
    if output.suffix.lower() != ".json":
        raise UserError(f"--repair {output}: is not a JSON file; name one that ends in .json")
    if os.path.lexists(output):
        raise UserError(f"--repair {output}: already exists; name another file, or remove it")
    path = find_drone(drone)
    content = read_content(path)
    changes = list(_correct(content, path))
    try:
        text = json.dumps(content, allow_nan=False)
    except ValueError:
        raise UserError(f"{path}: holds NaN or infinity, which JSON cannot represent; remove them") from None
    with writing(output, "name another file", "--repair"):
        write_text(output, text + "\n")
    return changes


def _correct(content: dict[str, Any], path: Path) -> Iterator[str]:
    """Replaces the wrong derived fields of an object, and yields a line for each."""
    rest = copy.deepcopy(content)
    given = dict(_pop_derived(rest))
    found = dict(leaves(from_content(path, rest).drone))
    for name, value in given.items():
        if not _agrees(name, value, found[name]):
            *groups, key = name.split(".")
            _group(content, groups)[key] = found[name].value.tolist()
            yield f"{name}: was {shown(value)}, is {shown(found[name].value)}"


def _agrees(name: str, given: object, computed: Leaf) -> bool:
    try:
        value = computed.specification.parse(name, given)
    except FieldError:
        return False
    return bool(np.abs(value - computed.value).max() <= _TOLERANCE * np.abs(computed.value).max())


def _pop_derived(content: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """Removes the derived fields of an object, and yields their names and values."""
    for name in derived_names(Drone):
        *groups, key = name.split(".")
        if key in (group := _group(content, groups)):
            yield name, group.pop(key)


def _group(content: dict[str, Any], groups: list[str]) -> dict[str, Any]:
    for name in groups:
        inner = content.get(name)
        content = inner if isinstance(inner, dict) else {}
    return content
