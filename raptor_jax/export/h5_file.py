"""HDF5 files in the layout of RLtools' `save` functions (`containers/matrix`, `containers/tensor`, `nn/layers`)."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from raptor_jax.utils.files import write_atomically


@contextlib.contextmanager
def writing(path: Path) -> Iterator[h5py.File]:
    """Opens a file in memory, and writes it to `path` at the end, atomically."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        yield file
    write_atomically(path, lambda out: out.write(content.getvalue()))


def write_dense(group: h5py.Group, kernel: np.ndarray, bias: np.ndarray, activation: str) -> None:
    """Writes a dense layer as up to RLtools 2.1, with its bias as a matrix of one row.

    Args:
        group: its group.
        kernel: [inputs, outputs].
        bias: [outputs].
        activation: its activation function, in RLtools' notation.
    """
    group.attrs.update({"type": "dense", "activation_function": activation})
    _write_matrix(group.create_group("weights"), kernel.T)
    _write_matrix(group.create_group("biases"), bias[None])


def write_tensor(group: h5py.Group, name: str, values: np.ndarray) -> None:
    """Writes a tensor of any shape."""
    dataset = group.create_dataset(name, data=values)
    dataset.attrs.update({"type": "tensor", "num_dims": str(values.ndim)})
    dataset.attrs.update({f"dim_{axis}": str(size) for axis, size in enumerate(values.shape)})


def _write_matrix(group: h5py.Group, values: np.ndarray) -> None:
    dataset = group.create_dataset("parameters", data=values)
    rows, columns = values.shape
    dataset.attrs.update({"type": "matrix", "rows": str(rows), "cols": str(columns)})
