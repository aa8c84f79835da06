"""A teacher for ONNX runtimes: observation [batch, 26] -> action [batch, 4], the tanh of the policy's mean."""

import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper, numpy_helper

from raptor_jax.export.teacher import Teacher
from raptor_jax.simulator import ACTION_DIM, OBSERVATION_DIM
from raptor_jax.utils.files import write_atomically

_OPSET, _IR = 17, 8
"""Versions of ONNX 1.12 (2022); the defaults of the package are too new for many runtimes."""


def write(path: Path, teacher: Teacher) -> None:
    """Writes the model; its metadata are the drone, the teacher's ID and mean return, and the provenance."""
    model = helper.make_model(
        _graph(teacher), producer_name="raptor-jax", ir_version=_IR, opset_imports=[helper.make_opsetid("", _OPSET)]
    )
    about = teacher.provenance["teacher"]
    helper.set_model_props(
        model,
        {
            "drone": about["drone"],
            "teacher_id": str(teacher.teacher_id),
            "mean_return": json.dumps(about["mean_return"]),
            "provenance": json.dumps(teacher.provenance),
        },
    )
    onnx.checker.check_model(model, full_check=True)
    write_atomically(path, lambda file: file.write(model.SerializeToString()))


def _graph(teacher: Teacher) -> onnx.GraphProto:
    weights, nodes, source = [], [], "observation"
    for layer, values in teacher.mean_layers.items():
        kernel, bias, total = f"{layer}/kernel", f"{layer}/bias", f"{layer}/sum"
        target, activation = ("action", "Tanh") if layer == "output" else (layer, "Relu")
        weights += [numpy_helper.from_array(values["kernel"], kernel), numpy_helper.from_array(values["bias"], bias)]
        nodes += [
            helper.make_node("Gemm", [source, kernel, bias], [total]),
            helper.make_node(activation, [total], [target]),
        ]
        source = target
    observation = helper.make_tensor_value_info("observation", TensorProto.FLOAT, ["batch", OBSERVATION_DIM])
    action = helper.make_tensor_value_info("action", TensorProto.FLOAT, ["batch", ACTION_DIM])
    return helper.make_graph(nodes, teacher.name, [observation], [action], weights)
