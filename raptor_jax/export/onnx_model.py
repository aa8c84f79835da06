"""A teacher for ONNX runtimes: observation [batch, 26] -> action [batch, 4], the tanh of the policy's mean."""

import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper, numpy_helper

from raptor_jax.export import onnx_file
from raptor_jax.export.teacher import Teacher
from raptor_jax.simulator import ACTION_DIM, OBSERVATION_DIM


def write(path: Path, teacher: Teacher) -> None:
    """Writes the model; its metadata are the drone, the teacher's ID and mean return, and the provenance."""
    about = teacher.provenance["teacher"]
    metadata = {
        "drone": about["drone"],
        "teacher_id": str(teacher.teacher_id),
        "mean_return": json.dumps(about["mean_return"]),
        "provenance": json.dumps(teacher.provenance),
    }
    onnx_file.save(path, _graph(teacher), metadata)


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
