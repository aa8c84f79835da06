"""Students to export: one with random weights, and the published foundation policy in our arrangement."""

from importlib import resources
from typing import NamedTuple

import h5py
import jax
import jax.numpy as jnp
import numpy as np

from raptor_jax import student

PROVENANCE = {"run": {"directory": "a/*/b ?? \\ */ ü\n"}, "teachers": [0, 1], "loss": 0.25}
"""With traps for C and for JSON."""
PUBLISHED = str(resources.files("foundation_policy") / "blob" / "checkpoint.h5")


class Flight(NamedTuple):
    """What an exported student must do, from a fresh memory."""

    observations: np.ndarray
    """[500, 2, 22]."""
    actions: np.ndarray
    """[500, 2, 4], of the network in JAX."""


def random_student(width: int) -> student.Weights:
    """Returns weights that are large enough that the memory matters and all biases show."""
    random = np.random.default_rng(0)

    def varied(leaf: jax.Array) -> np.ndarray:
        bias = random.standard_normal(leaf.shape) if leaf.ndim == 1 else 0
        return np.asarray(2 * (leaf + 0.2 * bias), np.float32)

    return jax.tree.map(varied, student.create(width, jax.random.key(0)))


def fly(weights: student.Weights, observations: np.ndarray) -> np.ndarray:
    """Returns the actions [T, B, 4] of the network at observations [T, B, 22], step by step as in a flight."""
    memory = jnp.zeros((observations.shape[1], *student.fresh_memory(weights).shape))
    act = jax.jit(student.act)
    actions = []
    for observation in observations:
        memory, action = act(weights, memory, observation)
        actions.append(action)
    return np.asarray(actions)


def published() -> student.Weights:
    """Returns the weights of the published policy. RLtools' hidden biases of the gates r and z add to the input's."""
    with h5py.File(PUBLISHED) as file:
        layers = file["actor/layers"]
        gru = {name: part["parameters"][()] for name, part in layers["1"].items()}
        # The student's memory begins with 0.
        assert not gru["initial_hidden_state"].any()
        inputs, hidden = (np.split(gru[f"weights_{side}"], 3) for side in ("input", "hidden"))
        biases, (r, z, n) = (np.split(gru[f"biases_{side}"], 3) for side in ("input", "hidden"))
        gates = {}
        for gate, of_input, of_hidden, bias, more in zip("rzn", inputs, hidden, biases, (r, z, 0), strict=True):
            gates[f"i{gate}"] = {"kernel": of_input.T, "bias": bias + more}
            gates[f"h{gate}"] = {"kernel": of_hidden.T}
        gates["hn"]["bias"] = n
        return {"params": {"input": _dense(layers["0"]), "gru": gates, "output": _dense(layers["2"])}}


def _dense(group: h5py.Group) -> dict[str, np.ndarray]:
    return {"kernel": group["weights/parameters"][()].T, "bias": group["biases/parameters"][0]}
