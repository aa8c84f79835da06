"""The weights of a policy in a .npz file: each as LAYER/KIND, and `provenance`, a JSON text.

The provenance describes how the policy was made. A warm start and a student are such files.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from raptor_jax.errors import UserError, first_line
from raptor_jax.utils.files import Unreadable, read_arrays, write_atomically

_MAX_BYTES = 1 << 26
_PROVENANCE = "provenance"


class Content(NamedTuple):
    """The content of such a file."""

    arrays: dict[str, np.ndarray]
    """The weights by name, not checked."""
    provenance: dict[str, Any]


def read(path: Path, noun: str, fix: str, names: Iterable[str] = ()) -> Content:
    """Returns the content of a file.

    Args:
        path: the file.
        noun: what the file should be, for errors.
        fix: what the user can do, for errors.
        names: weights that it must contain.

    Raises:
        UserError: the file cannot be read, is too large, or lacks a weight or its provenance.
    """
    try:
        arrays = read_arrays(path, _MAX_BYTES)
    except Unreadable as error:
        raise UserError(f"{path}: {error}; {fix}") from None
    if missing := [name for name in (*names, _PROVENANCE) if name not in arrays]:
        raise UserError(f"{path}: not a {noun}: holds no {missing[0]}; {fix}")
    try:
        made = json.loads(str(arrays.pop(_PROVENANCE)))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: its provenance is not JSON: {first_line(error)}; {fix}") from None
    if not isinstance(made, dict):
        raise UserError(f"{path}: its provenance is a JSON {type(made).__name__}, not an object; {fix}")
    return Content(arrays, cast(dict[str, Any], made))


def holds(path: Path, name: str) -> bool:
    """Returns whether a file can be read and contains a weight with this name."""
    try:
        return name in read_arrays(path, _MAX_BYTES)
    except Unreadable:
        return False


def require(path: Path, name: str, array: np.ndarray, shape: tuple[int, ...], fix: str) -> None:
    """Raises UserError unless a weight has this shape and finite float32 numbers."""
    if array.shape != shape or array.dtype != np.float32:
        found = f"{array.dtype} of shape {array.shape}"
        raise UserError(f"{path}: {name} should be float32 of shape {shape}, and is {found}; {fix}")
    if not np.isfinite(array).all():
        raise UserError(f"{path}: {name} contains NaN or infinity; {fix}")


def save(path: Path, arrays: dict[str, np.ndarray], provenance: dict[str, Any]) -> None:
    """Writes such a file, atomically."""
    content = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    content[_PROVENANCE] = np.array(json.dumps(provenance))
    write_atomically(path, lambda file: np.savez_compressed(file, **cast(Any, content)))
