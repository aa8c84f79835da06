"""Files and directories: reads with size limits, atomic writes, and renaming instead of removal."""

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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _umask()
"""Read once, because reading changes it for a moment, in all threads."""


class Unreadable(Exception):
    """A file that cannot be read; the message says why, and the caller adds the path and how to fix it."""


class _YamlLoader(yaml.SafeLoader):
    """YAML with the types of JSON only: no dates, sets or binary; keys are unique strings; no aliases.

    A few lines of nested aliases can expand to more than fits in memory.
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
            raise yaml.composer.ComposerError(None, None, "aliases are not supported; write the value out", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str) or key in seen:
                problem = f"the key {key} occurs twice" if isinstance(key, str) else "a key should be text"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1, which PyYAML implements, reads 1e-3 and -.1 as strings.
_YamlLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)$"),
    list("-+.0123456789"),
)


def read_bytes(path: Path, most: int) -> bytes:
    """Returns the content of a file of at most `most` bytes.

    Raises:
        Unreadable: the path does not exist or is not a regular file, or the file is too large. Pipes could block, and
            devices could be endless.
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
        raise Unreadable(f"larger than the limit of {most} bytes")
    return content


def read_object(path: Path, most: int) -> dict[str, Any]:
    """Returns the object in a JSON file of at most `most` bytes. Raises Unreadable."""
    content = read_bytes(path, most)
    try:
        value = json.loads(content.decode())
    except json.JSONDecodeError as error:
        raise Unreadable(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except ValueError as error:  # not UTF-8, or an integer with thousands of digits
        raise Unreadable(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Unreadable("holds JSON, but not an object, {...}")
    return cast(dict[str, Any], value)


def read_yaml(path: Path, most: int) -> Any:
    """Returns the value in a YAML file of at most `most` bytes, with the types of JSON only. Raises Unreadable."""
    content = read_bytes(path, most)
    try:
        return yaml.load(content.decode(), _YamlLoader)
    # PyYAML raises more than its own error: converting a wrong number or tag fails with any exception.
    except Exception as error:
        raise Unreadable(f"not readable as YAML: {' '.join(str(error).split())}") from None


def read_arrays(path: Path, most: int) -> dict[str, np.ndarray]:
    """Returns the arrays of a .npz file by name, without unpickling.

    Args:
        path: the file.
        most: largest size in bytes of the file, and of its unpacked content.

    Raises:
        Unreadable: the file is not a .npz file, or is too large.
    """
    packed = read_bytes(path, most)
    try:
        unpacked = sum(entry.file_size for entry in zipfile.ZipFile(io.BytesIO(packed)).infolist())
        if unpacked > most:
            raise Unreadable(f"unpacks to {unpacked} bytes, more than {most}")
        # A header that only causes a warning was not written by raptor_jax either.
        with warnings.catch_warnings(action="error"), np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name]) for name in arrays.files}
    except Unreadable:
        raise
    # A damaged file can fail in any parser that numpy uses: zipfile, zlib, lzma, ast, tokenize.
    except Exception as error:
        raise Unreadable(f"not a NumPy archive: {first_line(error)}") from None


def require_writable(option: str, path: Path | None) -> None:
    """Raises UserError if the file that an option names cannot be written; tests it with a temporary file there."""
    if path is None:
        return
    directory = path.absolute().parent
    if os.path.isdir(path) or not os.path.isdir(directory):
        raise UserError(f"{option}: {path}: cannot be written; name a file in a directory that exists")
    with writing(path, "name a file in another directory", option), tempfile.TemporaryFile(dir=directory):
        pass


def write_requested(option: str, path: Path | None, write: Callable[[Path], object]) -> None:
    """Writes the file that an option names, if it names one. Raises UserError if the file cannot be written."""
    if path is not None:
        with writing(path, "name another file", option):
            write(path)


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


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a temporary file in the same directory with `write`, then renames it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp creates private files; results follow the umask.
        os.chmod(temporary, 0o666 & ~_UMASK)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_temporaries(path: Path) -> None:
    """Removes temporary files that `write_atomically` left when its process was killed."""
    for temporary in path.parent.glob(f".{path.name}.*"):
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes text as UTF-8, atomically."""
    write_atomically(path, lambda file: file.write(text.encode()))


def json_number(value: float | np.ndarray) -> float | None:
    """Returns a finite number as a float, and None for NaN and infinity, which JSON cannot represent."""
    return float(value) if np.isfinite(value) else None


def write_json(path: Path, value: object) -> None:
    """Writes strict JSON (no NaN or infinity), indented, atomically."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def move_aside(directory: Path) -> Path:
    """Renames a directory to the first free NAME.previous-N, and returns the new path."""
    # Not resolved: a link is renamed, not what it links to.
    directory = Path(os.path.abspath(directory))
    number = 1
    while (aside := directory.with_name(f"{directory.name}.previous-{number}")).exists():
        number += 1
    directory.rename(aside)
    return aside
