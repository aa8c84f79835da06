"""The content of the student's file, and of what `export` wrote as ONNX, for RLtools, as a C header and for PX4."""

import io
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import jax
import numpy as np

from raptor_jax.errors import UserError, first_line
from raptor_jax.inspection.arrays import ArrayContent, describe_arrays
from raptor_jax.runs import student_file
from raptor_jax.utils.files import Unreadable, read_bytes

_MAX_BYTES = 1 << 26
_FIX = "name a file that export wrote"
_STUDENT, _TEACHER = "student", "teacher"
_HEADER = re.compile(r"/\* A (student|teacher) of raptor_jax[^\n]*\n(\{.*?\})\n\*/", re.DOTALL)
_CONSTANT = re.compile(r"^static const float (\w+)\[(\d+)\](?:\[(\d+)\])? =", re.MULTILINE)
_PX4_PROVENANCE = "raptor_jax/provenance"
"""The entry that `export` adds to RLtools' entries."""


class PolicyContent(TypedDict):
    """A policy in a file."""

    kind: str
    """student: the student's own file; exported: another format."""
    path: str
    format: str
    """As in `export --format`."""
    policy: str | None
    """student or teacher; None if the file is not from raptor_jax."""
    width: int | None
    """The width of a student."""
    parameters: int
    arrays: list[ArrayContent]
    provenance: dict[str, Any] | None


class _Found(NamedTuple):
    policy: str
    width: int | None
    shapes: dict[str, tuple[int, ...]]
    """Shapes of its weights by name, all float32."""
    provenance: dict[str, Any] | None


def describe_student(path: Path) -> PolicyContent:
    """Returns the content of the student's file, or of its directory. Raises UserError as `student_file.load`."""
    weights, provenance = student_file.load(path)
    arrays = student_file.by_name(weights)
    shapes = {name: array.shape for name, array in arrays.items()}
    found = _Found(_STUDENT, student_file.width(weights), shapes, provenance)
    return _content(path, "student", "npz", found)


def is_exported(path: Path) -> bool:
    """Returns whether a path has the suffix of an exported policy, other than that of NumPy."""
    return path.suffix in _READERS


def describe_exported(path: Path) -> PolicyContent:
    """Returns the content of an exported policy.

    Raises:
        UserError: the file is missing, too large or damaged, or the package for its format is not installed.
    """
    format, read = _READERS[path.suffix]
    try:
        return _content(path, "exported", format, read(read_bytes(path, _MAX_BYTES)))
    except Unreadable as error:
        raise UserError(f"{path}: {error}; {_FIX}") from None
    except ModuleNotFoundError as error:
        raise UserError(f"{path}: needs the package {error.name}; install raptor-jax[export]") from None
    # The parsers of other packages fail with any exception on a damaged file.
    except Exception as error:
        raise UserError(f"{path}: not readable as {format}: {first_line(error)}; {_FIX}") from None


def _content(path: Path, kind: str, format: str, found: _Found) -> PolicyContent:
    ours = found.provenance is not None
    # RLtools' and ONNX's files of a student also contain biases that are always 0.
    counted = student_file.shapes(found.width) if ours and found.width is not None else found.shapes
    float32 = np.dtype(np.float32)
    return {
        "kind": kind,
        "path": str(path),
        "format": format,
        "policy": found.policy if ours else None,
        "width": found.width,
        "parameters": sum(int(np.prod(shape, dtype=object)) for shape in counted.values()),
        "arrays": describe_arrays({name: jax.ShapeDtypeStruct(shape, float32) for name, shape in found.shapes.items()}),
        "provenance": found.provenance,
    }


def _read_onnx(content: bytes) -> _Found:
    import onnx

    model = onnx.load_from_string(content)
    about = {entry.key: entry.value for entry in model.metadata_props}
    shapes = {
        array.name: tuple(array.dims) for array in model.graph.initializer if array.data_type == onnx.TensorProto.FLOAT
    }
    provenance = json.loads(about["provenance"]) if "provenance" in about else None
    width = int(about["width"]) if "width" in about else None
    return _Found(_TEACHER if width is None else _STUDENT, width, shapes, provenance)


def _read_h5(content: bytes) -> _Found:
    import h5py

    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            shapes[f"actor/{name}"] = item.shape

    with h5py.File(io.BytesIO(content)) as file:
        actor = file["actor"]
        actor.visititems(note)
        meta = json.loads(actor.attrs.get("meta", "{}"))
    return _of_rltools(shapes, meta.get("raptor_jax"))


def _read_header(content: bytes) -> _Found:
    text = content.decode()
    about = _HEADER.match(text)
    if about is None:
        raise ValueError("does not begin with a comment of raptor_jax")
    sizes = {name: tuple(int(size) for size in sizes if size) for name, *sizes in _CONSTANT.findall(text)}
    width = sizes["raptor_student_input_bias"][0] if about[1] == _STUDENT else None
    return _Found(about[1], width, sizes, json.loads(about[2]))


def _read_px4(content: bytes) -> _Found:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        # An entry larger than the archive is a sparse file, which would fill the memory.
        read = {entry.name: archive.extractfile(entry) for entry in archive if entry.size <= len(content)}
        entries = {name: file.read() for name, file in read.items() if file is not None}
    shapes = {
        name.removesuffix("/meta"): _tar_shape(text.decode())
        for name, text in entries.items()
        if name.startswith("actor/") and name.endswith("/parameters/meta")
    }
    provenance = json.loads(entries[_PX4_PROVENANCE]) if _PX4_PROVENANCE in entries else None
    return _of_rltools(shapes, provenance)


def _tar_shape(meta: str) -> tuple[int, ...]:
    about = dict(line.split(": ", 1) for line in meta.splitlines())
    return tuple(int(about[f"dim_{axis}"]) for axis in range(int(about["num_dims"])))


def _of_rltools(shapes: dict[str, tuple[int, ...]], provenance: dict[str, Any] | None) -> _Found:
    """Returns a policy in RLtools' arrangement; one with a gated recurrent unit is a student."""
    if not shapes:
        raise ValueError("holds no weights of an actor")
    memory = shapes.get("actor/layers/1/initial_hidden_state/parameters")
    return _Found(_TEACHER if memory is None else _STUDENT, None if memory is None else memory[0], shapes, provenance)


_READERS: dict[str, tuple[str, Callable[[bytes], _Found]]] = {
    ".onnx": ("onnx", _read_onnx),
    ".h5": ("rltools-h5", _read_h5),
    ".h": ("c", _read_header),
    ".tar": ("px4", _read_px4),
}
"""By suffix: the format, as in `export --format`, and the reader of its content."""
