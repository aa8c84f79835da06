"""ONNX models of any policy: versions, metadata and the file."""

from pathlib import Path

import onnx
from onnx import helper

from raptor_jax.utils.files import write_atomically

_OPSET, _IR = 17, 8
"""Versions of ONNX 1.12 (2022); the defaults of the package are too new for many runtimes."""


def save(path: Path, graph: onnx.GraphProto, metadata: dict[str, str]) -> None:
    """Checks the model of a graph, and writes it with its metadata."""
    model = helper.make_model(
        graph, producer_name="raptor-jax", ir_version=_IR, opset_imports=[helper.make_opsetid("", _OPSET)]
    )
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    write_atomically(path, lambda file: file.write(model.SerializeToString()))
