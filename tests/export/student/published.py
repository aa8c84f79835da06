"""The published foundation policy as a student: its weights, from the package's file, in our arrangement."""

from importlib import resources

import h5py
import numpy as np

from raptor_jax.runs import student_file
from raptor_jax.student import Weights

PATH = str(resources.files("foundation_policy") / "blob" / "checkpoint.h5")


def weights() -> Weights:
    """Returns the weights. RLtools' hidden biases of the gates r and z add to the input biases."""
    with h5py.File(PATH) as file:
        layers = file["actor/layers"]
        gru = {name: part["parameters"][()] for name, part in layers["1"].items()}
        # The student's memory begins with 0.
        assert not gru["initial_hidden_state"].any()
        biases = dict(zip(("ir", "iz", "in"), np.split(gru["biases_input"], 3), strict=True))
        r, z, n = np.split(gru["biases_hidden"], 3)
        gates = {gate: {"bias": bias + more} for (gate, bias), more in zip(biases.items(), (r, z, 0), strict=True)}
        for gate, kernel in zip(("ir", "iz", "in"), np.split(gru["weights_input"], 3), strict=True):
            gates[gate]["kernel"] = kernel.T
        for gate, kernel in zip(("hr", "hz", "hn"), np.split(gru["weights_hidden"], 3), strict=True):
            gates[gate] = {"kernel": kernel.T}
        gates["hn"]["bias"] = n
        return {"params": {"input": dense(layers["0"]), "gru": gates, "output": dense(layers["2"])}}


def dense(group: h5py.Group) -> dict[str, np.ndarray]:
    return {"kernel": group["weights/parameters"][()].T, "bias": group["biases/parameters"][0]}


def save(path):
    student_file.save(path, weights(), {})
