"""Reads and writes the files of drones: L2F's JSON, and the same content as YAML for files written by hand.

Written files are complete, so `l2f` and RLtools load them unchanged; these ignore `metadata`, which records how a drone
was made.
"""

import difflib
import itertools
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from raptor_jax.config import EnvironmentConfig
from raptor_jax.drones import platforms
from raptor_jax.drones.completion import complete
from raptor_jax.drones.fields import FieldError, unparse
from raptor_jax.drones.parameters import Drone, stack, without_idle_noise
from raptor_jax.drones.schema import parse_drone
from raptor_jax.drones.tasks import for_training
from raptor_jax.drones.validation import check_drone
from raptor_jax.errors import UserError
from raptor_jax.utils.files import Unreadable, read_object, read_yaml, write_text, writing

_MAX_BYTES = 1 << 20
"""A drone's file has 3 kB."""

_YAML = (".yaml", ".yml")
_MAX_YAML_BYTES = 1 << 16
"""YAML is written by hand, and slow to parse."""


class DroneFile(NamedTuple):
    """A drone with its file."""

    name: str
    """The file name without its suffix."""
    path: Path
    drone: Drone
    metadata: dict[str, Any]
    """How the drone was made, as recorded in the file; {} if nothing is recorded."""


def load_drone(path: str | Path) -> DroneFile:
    """Reads and checks one drone.

    `parameters` declares which fields a file may omit or shorten; `completion` describes how omitted ones are computed.

    Args:
        path: a JSON file, or a YAML file if its suffix is .yaml or .yml.

    Returns:
        The drone, complete and checked: float64 and bool arrays in SI units, without a teacher axis.

    Raises:
        UserError: the file cannot be read, is not JSON or YAML, or has a missing or invalid field.
    """
    path = Path(path)
    return from_content(path, read_content(path))


def read_content(path: Path) -> dict[str, Any]:
    """Returns the object in a drone's file, not checked. Raises UserError if it cannot be read."""
    try:
        return _read_yaml(path) if path.suffix.lower() in _YAML else read_object(path, _MAX_BYTES)
    except Unreadable as error:
        raise UserError(f"{path}: {error}; name a drone's file (JSON or YAML), or remove this one") from None


def from_content(path: Path, content: Mapping[str, Any]) -> DroneFile:
    """Returns the drone in the object of a file, complete and checked. Raises UserError as `load_drone`."""
    try:
        parsed = parse_drone(content)
        drone = complete(parsed)
    except FieldError as error:
        raise UserError(f"{path}: {error}") from None
    check(path, drone)
    return DroneFile(path.stem, path, drone, parsed.metadata)


def check(path: Path, drone: Drone) -> None:
    """Raises UserError, which names the drone's file and the field, unless a drone is valid."""
    try:
        check_drone(drone)
    except FieldError as error:
        raise UserError(f"{path}: {error}") from None


def load_named(drones: Sequence[str | Path], num: int | None = None) -> list[DroneFile]:
    """Reads drones by path or name, in the order in which `load_directory` reads them from a run.

    Args:
        drones: paths, or names of platforms; see `find_drone`.
        num: number of drones to read from the beginning of that order; None for all.

    Raises:
        UserError: a drone does not exist or `load_drone` rejects it, two have the same name, or there are too few.
    """
    paths = sorted(map(find_drone, drones), key=by_number)
    for one, other in itertools.pairwise(paths):
        if one.stem == other.stem:
            raise UserError(f"{one} and {other}: both would be named {one.stem}; rename one, or name it only once")
    return [load_drone(path) for path in _first(paths, num, "--drone")]


def find_drone(drone: str | Path) -> Path:
    """Returns the path of a drone's file, or of the platform with this name.

    Raises:
        UserError: neither exists.
    """
    known = platforms.names()
    if str(drone) in known and not os.path.isfile(drone):
        return platforms.path_of(str(drone))
    if os.path.lexists(drone):
        return Path(drone)
    alike = difflib.get_close_matches(str(drone), known, 1)
    hint = f"did you mean {alike[0]}? Platforms are" if alike else "name a drone's file or a platform:"
    raise UserError(f"{drone}: no such file or platform; {hint} {', '.join(known)}")


def load_directory(directory: str | Path, num: int | None = None) -> list[DroneFile]:
    """Reads the drones of a directory's `*.json` files, ordered by number.

    Args:
        directory: the directory; its subdirectories are not searched.
        num: number of drones to read from the beginning; None for all.

    Raises:
        UserError: the directory does not exist or contains too few files, or `load_drone` rejects one.
    """
    paths = drone_paths(directory)
    if not paths:
        raise UserError(f"{directory}: contains no *.json files; name a directory of drones, or sample drones into it")
    return [load_drone(path) for path in _first(paths, num, str(directory))]


def drone_paths(directory: str | Path) -> list[Path]:
    """Returns the `*.json` files of a directory, ordered by number.

    Raises:
        UserError: the directory does not exist.
    """
    directory = Path(directory)
    if not os.path.isdir(directory):
        raise UserError(f"{directory}: no such directory; name one that contains drones as *.json files")
    return sorted(directory.glob("*.json"), key=by_number)


def stack_for_training(files: Sequence[DroneFile], environment: EnvironmentConfig) -> Drone:
    """Returns the drones with the configured task, as one tree with a leading teacher axis [T, ...].

    Kinds of noise that no drone has are None in the tree.

    Raises:
        UserError: the integration step of a drone is not `environment.dt`.
    """
    return without_idle_noise(stack([for_training(file.drone, environment, str(file.path)) for file in files]))


def save_drone(path: str | Path, drone: Drone, metadata: Mapping[str, Any]) -> None:
    """Checks a drone and writes it as JSON in L2F's schema, at full precision and atomically.

    Raises:
        UserError: the drone is invalid, or the file cannot be written.
    """
    path = Path(path)
    check(path, drone)
    with writing(path, "choose another directory"):
        write_text(path, to_json(drone, metadata))


def to_json(drone: Drone, metadata: Mapping[str, Any]) -> str:
    """Returns the JSON text of a drone's file, with its keys in L2F's order."""
    content = unparse(drone)
    content["trajectory"] = {"MIXTURE_N": 2} | content.pop("trajectory")
    return json.dumps({**content, "metadata": dict(metadata)}, allow_nan=False) + "\n"


def by_number(path: Path) -> tuple[list[str | int], str]:
    """Returns the sort key of a drone's file: 2.json comes before 10.json."""
    # Splitting at digits puts text at even and numbers at odd indices, so that equal types are compared.
    pieces: list[str | int] = [*re.split(r"(\d+)", path.stem)]
    pieces[1::2] = [int(piece) for piece in pieces[1::2]]
    return pieces, path.name


def _first(paths: Sequence[Path], num: int | None, source: str) -> Sequence[Path]:
    if num is not None and num > len(paths):
        raise UserError(f"{source}: contains {len(paths)} drones, fewer than the requested {num}; request fewer")
    return paths[:num]


def _read_yaml(path: Path) -> dict[str, Any]:
    content = read_yaml(path, _MAX_YAML_BYTES)
    if not isinstance(content, dict):
        raise Unreadable("contains no fields, such as dynamics")
    return content
