"""The student's file, student.npz: each weight of its network as LAYER/KIND, and `provenance`, a JSON text.

    input/kernel [22, W]   input/bias [W]
    gru/ir/kernel, gru/iz/kernel, gru/in/kernel [W, W]   gru/ir/bias, gru/iz/bias, gru/in/bias [W]
    gru/hr/kernel, gru/hz/kernel, gru/hn/kernel [W, W]   gru/hn/bias [W]
    output/kernel [W, 4]   output/bias [4]

All are float32. Kernels are inputs x outputs, as in `student.network`. The width W is that of `input/bias`.
"""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from raptor_jax import student
from raptor_jax.runs import layout, weights_file
from raptor_jax.student import Weights

NAME = layout.STUDENT
_WIDTH = "input/bias"
"""The weight whose size is the width."""
_WIDEST = 4096
_FIX = f"name a directory that distill wrote, or the {NAME} in it"


def names_student(path: Path) -> bool:
    """Returns whether a path names a student, not a run of teachers: a file, or a directory with a student's file."""
    if os.path.lexists(path / layout.RESULTS):
        return False
    return os.path.isfile(path) or os.path.lexists(path / NAME)


def directory(path: Path) -> Path:
    """Returns the directory, as an absolute path, that contains the student's file of a path that `load` takes."""
    return _file(path).resolve().parent


def holds_student(path: Path) -> bool:
    """Returns whether a file is meant to be a student's; it may still be damaged."""
    return weights_file.holds(path, _WIDTH)


def load(path: Path) -> tuple[Weights, dict[str, Any]]:
    """Returns a student's weights, on the host, and its provenance.

    Args:
        path: the file, or the directory that contains it.

    Raises:
        UserError: the file is missing, is damaged, or is not a student.
    """
    file = _file(path)
    content = weights_file.read(file, "student", _FIX, shapes(1))
    size = content.arrays[_WIDTH].size
    # A width of 0 or of millions is refused because of its shape.
    expected = shapes(size if 1 <= size <= _WIDEST else 1)
    for name in (_WIDTH, *expected):
        weights_file.require(file, name, content.arrays[name], expected[name], _FIX)
    layers = unflatten_dict({name: content.arrays[name] for name in expected}, sep="/")
    return {"params": layers}, content.provenance


def save(path: Path, weights: Weights, provenance: dict[str, Any]) -> None:
    """Writes a student's file: its weights, and how it was made.

    Args:
        path: the file; its directory is created.
        weights: of the network, on the host or on a device.
        provenance: anything that JSON can represent.
    """
    weights_file.save(path, by_name(weights), provenance)


def by_name(weights: Weights) -> dict[str, np.ndarray]:
    """Returns a student's weights by the names in its file."""
    return flatten_dict(weights["params"], sep="/")


def width(weights: Weights) -> int:
    """Returns the width of a student, the size of its memory."""
    return int(by_name(weights)[_WIDTH].size)


def shapes(width: int) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the weights of a student of this width, by name."""
    weights = jax.eval_shape(lambda: student.create(width, jax.random.key(0)))
    return {name: array.shape for name, array in by_name(weights).items()}


def _file(path: Path) -> Path:
    return path / NAME if os.path.isdir(path) else path
