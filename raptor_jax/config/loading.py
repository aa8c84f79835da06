"""Reads settings from YAML, and overrides them with values from the command line.

Pydantic checks types and ranges; each of its reports becomes one line that names the file, the key, the value and the
fix.
"""

import os
import reprlib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import pydantic
import yaml

from raptor_jax.config.keys import nearest, renamed, sections
from raptor_jax.config.sections import Config
from raptor_jax.errors import UserError
from raptor_jax.utils.files import Unreadable, read_yaml

DEFAULT_CONFIG = "configs/pre_training.yaml"

_MAX_BYTES = 1 << 16
"""A file with all settings has 4 kB."""


def find(path: str | Path) -> Path:
    """Returns the path of a configuration file; the shipped ones are found from any directory.

    Raises:
        UserError: there is no such file.
    """
    path = Path(path)
    # Unlike Path.is_file, this accepts paths that are too long or contain NUL.
    if os.path.isfile(path):
        return path
    package = Path(str(resources.files("raptor_jax")))
    # A wheel contains the files inside the package; a checkout has them next to it.
    shipped = next((place for place in (package / "configs", package.parent / "configs") if place.is_dir()), package)
    if path.parent in (Path("configs"), Path(".")) and os.path.isfile(shipped / path.name):
        return shipped / path.name
    known = ", ".join(sorted(f"configs/{file.name}" for file in shipped.glob("*.yaml")))
    raise UserError(f"{path}: no such configuration file; name a YAML file, or one of the shipped ones: {known}")


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Reads a YAML file and applies overrides.

    Args:
        path: the YAML file, or the name of a shipped one.
        overrides: values by dotted key (`{"sac.actor_learning_rate": "1e-3"}`), as text or as numbers.

    Raises:
        UserError: the file is missing or not YAML, a key is unknown, or a value has the wrong type or is out of range.
    """
    path = find(path)
    return build(read(path), overrides or {}, str(path))


def read(path: Path) -> Any:
    """Returns the content of a YAML file of settings, unchecked.

    Raises:
        UserError: the file is not YAML, or too large.
    """
    try:
        values = read_yaml(path, _MAX_BYTES)
    except Unreadable as error:
        raise UserError(f"{path}: {error}; correct it, or name another YAML file of settings") from None
    return values if values is not None else {}


def build(values: Any, overrides: Mapping[str, Any], source: str) -> Config:
    """Returns the settings of nested values, with overrides by dotted key.

    Args:
        values: keys and values by section.
        overrides: values by dotted key.
        source: name of `values` in errors.

    Raises:
        UserError: as `load`.
    """
    if not isinstance(values, dict) or not all(isinstance(v, dict) or v is None for v in values.values()):
        raise UserError(f"{source}: should hold sections ({', '.join(sections())}), each with its keys")
    merged = {section: dict(keys or {}) for section, keys in values.items()}
    for dotted, value in overrides.items():
        section, dot, key = dotted.partition(".")
        if not dot:
            raise UserError(f"{dotted}: should be SECTION.KEY, such as sac.horizon")
        merged.setdefault(section, {})[key] = value
    try:
        return Config.model_validate(merged)
    except pydantic.ValidationError as error:
        raise UserError(_one_line(error.errors()[0], overrides, source)) from None


def dump(config: Config) -> str:
    """Returns the configuration as YAML with every key; `load` reads it."""
    return yaml.safe_dump(config.model_dump(), sort_keys=False)


def _one_line(problem: Mapping[str, Any], overrides: Mapping[str, Any], source: str) -> str:
    dotted = ".".join(map(str, problem["loc"]))
    where = _option(dotted) if dotted in overrides else f"{source}: {dotted}"
    if problem["type"] == "extra_forbidden":
        if replacement := renamed(dotted):
            return f"{where}: {replacement}"
        alike = nearest(dotted)
        return (
            f"{where}: unknown key; {f'did you mean {alike}?' if alike else 'raptor-jax train --help lists all keys'}"
        )
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):
        given = [_option(key) for key in overrides if key.startswith(f"{dotted}.")]
        return f"{', '.join(given) or where}: {problem['msg'].removeprefix('Value error, ')}"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if message.startswith("should"):
        return f"{where}: {reprlib.repr(problem['input'])} {message}"
    return f"{where}: {message}"


def _option(dotted: str) -> str:
    return f"--{dotted.replace('_', '-')}"
