"""The student for ONNX runtimes: one step, observation [batch, 22] and memory [batch, W] -> action, next memory."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from raptor_jax.export import onnx_file
from raptor_jax.export.student.policy import Student
from raptor_jax.simulator import ACTION_DIM
from raptor_jax.student import INPUTS


def write(path: Path, student: Student) -> None:
    """Writes the model; its metadata are the width, the number of parameters and the provenance."""
    metadata = {
        "width": str(student.width),
        "parameters": str(student.parameters),
        "provenance": json.dumps(student.provenance),
    }
    onnx_file.save(path, _graph(student), metadata)


def _graph(student: Student) -> onnx.GraphProto:
    nodes = [
        helper.make_node("Gemm", ["observation", "input/kernel", "input/bias"], ["input/sum"]),
        helper.make_node("Relu", ["input/sum"], ["input"]),
        # A sequence of one step, in one direction.
        helper.make_node("Unsqueeze", ["input", "axis"], ["input/sequence"]),
        helper.make_node("Unsqueeze", ["memory", "axis"], ["memory/direction"]),
        helper.make_node(
            "GRU",
            ["input/sequence", "gru/input", "gru/hidden", "gru/bias", "", "memory/direction"],
            ["", "gru/direction"],
            hidden_size=student.width,
            # The gate r multiplies the memory after its matrix and bias, as in flax.
            linear_before_reset=1,
        ),
        helper.make_node("Squeeze", ["gru/direction", "axis"], ["next_memory"]),
        helper.make_node("Gemm", ["next_memory", "output/kernel", "output/bias"], ["action"]),
    ]
    weights = [numpy_helper.from_array(values, name) for name, values in _weights(student)]
    sizes = {"observation": INPUTS, "memory": student.width, "action": ACTION_DIM, "next_memory": student.width}
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in sizes.items()
    }
    inputs, outputs = [values["observation"], values["memory"]], [values["action"], values["next_memory"]]
    return helper.make_graph(nodes, "student", inputs, outputs, weights)


def _weights(student: Student) -> Iterator[tuple[str, np.ndarray]]:
    """Yields names and arrays; ONNX orders the gates z, r, n, and has a leading axis for directions."""
    gates, nothing = student.layers["gru"], np.zeros(student.width, np.float32)
    yield "axis", np.zeros(1, np.int64)
    for layer in ("input", "output"):
        for kind, values in student.layers[layer].items():
            yield f"{layer}/{kind}", values
    for name, parts in (("input", ("iz", "ir", "in")), ("hidden", ("hz", "hr", "hn"))):
        yield f"gru/{name}", np.concatenate([gates[gate]["kernel"].T for gate in parts])[None]
    biases = [gates["iz"]["bias"], gates["ir"]["bias"], gates["in"]["bias"], nothing, nothing, gates["hn"]["bias"]]
    yield "gru/bias", np.concatenate(biases)[None]
