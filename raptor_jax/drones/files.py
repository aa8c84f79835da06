"""Drones in and out of files: L2F's JSON, and the same content as YAML, for a person to write.

What we write is complete, so that `l2f` and RLtools load it unchanged; they ignore `metadata`, which says how a drone
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
"""A drone's file holds 3 kB; what is much larger is something else."""

_YAML = (".yaml", ".yml")
_MAX_YAML_BYTES = 1 << 16
"""YAML is what a person writes, and slow to read."""


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
    Crazyflie's, scaled to `metadata.thrust_to_weight`; missing falling time constants are the rising ones; a missing
    `mdp` (and with it the hovering throttle) or `trajectory` becomes the default task's, missing `disturbances` become
    none. `schema` has what else may be missing, or written shorter. Everything else must be there.

    Args:
        path: a file of JSON, or, if it ends in .yaml or .yml, of YAML.

    Raises:
        UserError: no file, no JSON or YAML, or a field that is missing or wrong; one line that names the file and the
            field.
    """
    path = Path(path)
    try:
        content = _read_yaml(path) if path.suffix.lower() in _YAML else read_object(path, _MAX_BYTES)
    except Unreadable as error:
        raise UserError(f"{path}: {error}; name a drone's file, JSON or YAML, or take this one away") from None
    try:
        parsed = parse_drone(content)
        drone = complete(parsed)
        check_drone(drone)
    except FieldError as error:
        raise UserError(f"{path}: {error}") from None
    return DroneFile(path.stem, path, drone, parsed.metadata)


def load_named(drones: Sequence[str | Path], num: int | None = None) -> list[DroneFile]:
    """Reads drones that are named one by one, in the order that `load_directory` will read them in from a run.

    Args:
        drones: paths, or names of platforms; see `find_drone`.
        num: how many to read, the first ones in that order; None reads all.

    Raises:
        UserError: one is not there or `load_drone` rejects it, two have the same name, or there are too few.
    """
    paths = sorted(map(find_drone, drones), key=by_number)
    for one, other in itertools.pairwise(paths):
        if one.stem == other.stem:
            raise UserError(f"{one} and {other}: both would be called {one.stem}; rename one, or name it once")
    return [load_drone(path) for path in _first(paths, num, "--drone")]


def find_drone(drone: str | Path) -> Path:
    """Returns the file that a path names, or else the platform of that name.

    Raises:
        UserError: it is neither.
    """
    known = platforms.names()
    if str(drone) in known and not os.path.isfile(drone):
        return platforms.path_of(str(drone))
    if os.path.lexists(drone):
        return Path(drone)
    alike = difflib.get_close_matches(str(drone), known, 1)
    hint = f"did you mean {alike[0]}? Platforms are" if alike else "name a drone's file or a platform:"
    raise UserError(f"{drone}: no such file, and no platform; {hint} {', '.join(known)}")


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
    return [load_drone(path) for path in _first(paths, num, str(directory))]


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

    Kinds of noise that none of them has are None in it.

    Raises:
        UserError: a drone does not fit the configuration; see `tasks.for_training`.
    """
    return without_idle_noise(stack([for_training(file.drone, environment, str(file.path)) for file in files]))


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
    with writing(path, "choose another directory"):
        write_text(path, to_json(drone, metadata))


def to_json(drone: Drone, metadata: Mapping[str, Any]) -> str:
    """Returns the text of a drone's file; key order is L2F's."""
    content = unparse(drone)
    content["trajectory"] = {"MIXTURE_N": 2} | content.pop("trajectory")
    return json.dumps({**content, "metadata": dict(metadata)}, allow_nan=False) + "\n"


def by_number(path: Path) -> tuple[list[str | int], str]:
    """Returns what orders the files of drones: 2.json comes before 10.json."""
    # Splitting at runs of digits puts text at even and numbers at odd places, so that like is compared with like.
    pieces: list[str | int] = [*re.split(r"(\d+)", path.stem)]
    pieces[1::2] = [int(piece) for piece in pieces[1::2]]
    return pieces, path.name


def _first(paths: Sequence[Path], num: int | None, source: str) -> Sequence[Path]:
    if num is not None and num > len(paths):
        raise UserError(f"{source}: holds {len(paths)} drones, fewer than the {num} asked for; ask for fewer")
    return paths[:num]


def _read_yaml(path: Path) -> dict[str, Any]:
    content = read_yaml(path, _MAX_YAML_BYTES)
    if not isinstance(content, dict):
        raise Unreadable("holds no fields, such as dynamics")
    return content
