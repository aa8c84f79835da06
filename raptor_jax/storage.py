"""Files and directories: read within limits, written whole or not at all, moved aside and never removed."""

import io
import json
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from raptor_jax.errors import first_line


class Unreadable(Exception):
    """A file that cannot be read, whoever wrote it; the message says why, and the caller adds which and the way out."""


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
