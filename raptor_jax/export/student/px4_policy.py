"""The student for PX4: the tar archive that its module `mc_raptor` reads from the SD card as raptor/policy.tar.

The layout is that of RLtools' `persist/backends/tar`, in the version that PX4 includes (later than 2.2.1): a group is a
path, its attributes are the lines `NAME: VALUE` of PATH/meta, and a tensor is PATH/meta and PATH/data, float32. The
module (PX4, src/modules/mc_raptor) was compiled for one network: three layers with a width of 16. It reads

    actor/layers/0, 1, 2                     the weights
    actor/meta                               checkpoint_name, which `mc_raptor status` shows
    example/input/data, example/output/data  the first 5 steps of 2 episodes, with the strides of [500, 2, ...]

and does not start unless its actions at the example deviate by less than 1e-5 on average.
"""

import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from raptor_jax.errors import UserError
from raptor_jax.export.student import rltools_layers
from raptor_jax.export.student.policy import Student
from raptor_jax.utils.files import write_atomically

_WIDTH = 16
_LONGEST_NAME = 90
"""Longest name of a student in characters; with `/student` it fits into the module's buffer of 100 bytes."""
PROVENANCE = "raptor_jax/provenance"
"""The entry with the provenance; RLtools' reader skips entries that are not requested."""


def write(path: Path, student: Student) -> None:
    """Writes the archive; equal students give equal files.

    Raises:
        UserError: the student is too wide or too narrow for the module.
    """
    if student.width != _WIDTH:
        raise UserError(
            f"--format px4: this student has a width of {student.width}, and PX4's module is compiled for {_WIDTH};"
            f" distil with a width of {_WIDTH}"
        )
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in _entries(student):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    write_atomically(path, lambda file: file.write(content.getvalue()))


def _entries(student: Student) -> Iterator[tuple[str, bytes]]:
    """Yields names and contents, in the order in which RLtools writes them."""
    layers = rltools_layers.layers(student)
    name = re.sub(r"[^A-Za-z0-9._-]", "_", student.directory)[:_LONGEST_NAME]
    yield _attributes("actor", {"checkpoint_name": f"{name}/student", "type": "sequential"})
    yield from _dense("actor/layers/0", layers.input)
    for part, values in layers.gru.items():
        yield from _tensor(f"actor/layers/1/{part}/parameters", values)
    yield _attributes("actor/layers/1", {"type": "gru"})
    yield from _dense("actor/layers/2", layers.output)
    for part, values in rltools_layers.example(student)._asdict().items():
        yield from _tensor(f"example/{part}", values)
    yield PROVENANCE, json.dumps(student.provenance).encode()


def _dense(group: str, layer: rltools_layers.Dense) -> Iterator[tuple[str, bytes]]:
    yield from _tensor(f"{group}/weights/parameters", layer.kernel.T)
    yield from _tensor(f"{group}/biases/parameters", layer.bias)
    yield _attributes(group, {"activation_function": layer.activation, "type": "dense"})


def _tensor(group: str, values: np.ndarray) -> Iterator[tuple[str, bytes]]:
    sizes = {f"dim_{axis}": str(size) for axis, size in enumerate(values.shape)}
    yield _attributes(group, {"type": "tensor", "dtype": "float32", "num_dims": str(values.ndim), **sizes})
    yield f"{group}/data", values.astype("<f4").tobytes()


def _attributes(group: str, values: dict[str, str]) -> tuple[str, bytes]:
    return f"{group}/meta", "".join(f"{name}: {value}\n" for name, value in values.items()).encode()
