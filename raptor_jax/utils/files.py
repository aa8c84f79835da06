"""Files and directories: read within limits, written whole or not at all, moved aside and never removed."""

import contextlib
import io
import json
import os
import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import yaml

from raptor_jax.errors import UserError, first_line


class Unreadable(Exception):
    """A file that cannot be read, whoever wrote it; the message says why, and the caller adds which and the way out."""


class _YamlLoader(yaml.SafeLoader):
    """YAML of what JSON has: no dates, sets or binary, keys that are text and come once, and no aliases.

    A few lines of aliases stand for more than any memory holds.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML declares it so)
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":merge", ":value"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {
        f"tag:yaml.org,2002:{name}": yaml.SafeLoader.yaml_constructors[f"tag:yaml.org,2002:{name}"]
        for name in ("null", "bool", "int", "float", "str", "seq", "map")
    } | {None: yaml.SafeLoader.construct_undefined}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not read; write the value out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str) or key in seen:
                problem = f"the key {key} comes twice" if isinstance(key, str) else "a key should be text"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1, which PyYAML reads, takes 1e-3 and -.1 for text.
_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)$"),
    list("-+.0123456789"),
)


def read_bytes(path: Path, most: int) -> bytes:
    """Returns the content of a file of at most `most` bytes.

    Raises:
        Unreadable: there is none, it is too long, or it is no file: a pipe would block, and a device never end.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        raise Unreadable("is a directory, a pipe or a device, not a file")
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError:
        raise Unreadable("no such file") from None
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror}") from None
    except ValueError as error:  # NUL in the path
        raise Unreadable(f"cannot be read: {error}") from None
    if len(content) > most:
        raise Unreadable(f"more than {most} bytes are too many")
    return content


def read_object(path: Path, most: int) -> dict[str, Any]:
    """Returns the object that a JSON file of at most `most` bytes holds. Raises Unreadable."""
    content = read_bytes(path, most)
    try:
        value = json.loads(content.decode())
    except json.JSONDecodeError as error:
        raise Unreadable(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except ValueError as error:  # no UTF-8, or an integer of thousands of digits
        raise Unreadable(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Unreadable(f"holds a JSON {type(value).__name__}, not an object")
    return cast(dict[str, Any], value)


def read_yaml(path: Path, most: int) -> Any:
    """Returns what a YAML file of at most `most` bytes holds, of the types that JSON has. Raises Unreadable."""
    content = read_bytes(path, most)
    try:
        return yaml.load(content.decode(), _YamlLoader)
    # PyYAML's own error is one of many: a wrong number or tag fails in the function that converts it.
    except Exception as error:
        raise Unreadable(f"not readable as YAML: {' '.join(str(error).split())}") from None


def read_arrays(path: Path, most: int) -> dict[str, np.ndarray]:
    """Returns the arrays of a .npz file by name; nothing is unpickled.

    Args:
        path: the file.
        most: bytes that the file, and what it unpacks to, may have at most.

    Raises:
        Unreadable: it is no such file.
    """
    packed = read_bytes(path, most)
    try:
        unpacked = sum(entry.file_size for entry in zipfile.ZipFile(io.BytesIO(packed)).infolist())
        if unpacked > most:
            raise Unreadable(f"unpacks to {unpacked} bytes, more than {most}")
        # What numpy or Python only warns of in a header, no writer of ours wrote.
        with warnings.catch_warnings(action="error"), np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name]) for name in arrays.files}
    except Unreadable:
        raise
    # A damaged file fails in any of the parsers that numpy hands it to: zipfile, zlib, lzma, ast, tokenize.
    except Exception as error:
        raise Unreadable(f"not a NumPy archive: {first_line(error)}") from None


def require_writable(option: str, path: Path | None) -> None:
    """Raises UserError where a file that an option names cannot be written."""
    if path is not None and (os.path.isdir(path) or not os.path.isdir(path.absolute().parent)):
        raise UserError(f"{option}: {path}: cannot be written; name a file in a directory that exists")


@contextlib.contextmanager
def writing(path: Path, fix: str, option: str = "") -> Iterator[None]:
    """Converts an OSError within, from writing `path`, into a one-line UserError.

    Args:
        path: the file or directory.
        fix: what the user can do.
        option: the command-line option that names it.
    """
    try:
        yield
    except OSError as error:
        place = f"{option}: {path}" if option else str(path)
        raise UserError(f"{place}: cannot be written: {error.strerror or error}; {fix}") from None


def write_atomically(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Lets `write` fill a temporary file in the same directory, then renames it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; results are for the whole lab.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_temporaries(path: Path) -> None:
    """Removes what `write_atomically` leaves of a file when the process is killed inside it."""
    for temporary in path.parent.glob(f".{path.name}.*"):
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes text as UTF-8, atomically."""
    write_atomically(path, lambda file: file.write(text.encode()))


def json_number(value: Any) -> float | None:
    """Returns a finite number as a float, and None for NaN and infinity, which JSON does not have."""
    return float(value) if np.isfinite(value) else None


def write_json(path: Path, value: Any) -> None:
    """Writes strict JSON (no NaN or infinity), indented, atomically."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def move_aside(directory: Path) -> Path:
    """Renames a directory to the first free NAME.previous-N beside it, and returns that path."""
    directory = directory.resolve()
    number = 1
    while (aside := directory.with_name(f"{directory.name}.previous-{number}")).exists():
        number += 1
    directory.rename(aside)
    return aside


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
