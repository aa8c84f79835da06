"""Arrays, described by name, shape and type."""

from collections.abc import Mapping
from typing import TypedDict

import jax
import numpy as np


class ArrayContent(TypedDict):
    """An array: its name, shape, type and size in bytes."""

    name: str
    shape: list[int]
    dtype: str
    bytes: int


def describe_arrays(arrays: Mapping[str, np.ndarray | jax.ShapeDtypeStruct]) -> list[ArrayContent]:
    """Returns name, shape, type and size in bytes of arrays or shape structs."""
    return [
        {
            "name": name,
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "bytes": int(np.prod(array.shape, dtype=object)) * array.dtype.itemsize,
        }
        for name, array in arrays.items()
    ]
