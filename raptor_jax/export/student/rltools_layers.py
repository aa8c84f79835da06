"""The student in RLtools' arrangement (`nn_models/sequential` of a dense, a `gru` and a dense layer), with an example.

RLtools' gated recurrent unit is flax's with three additions, which are 0 here: the hidden biases of the gates r and z,
which are only added to their input biases, and the initial memory.
"""

from typing import Any, NamedTuple

import numpy as np

from raptor_jax.export.student.policy import OBSERVATION, Student
from raptor_jax.student import INPUTS

ENVIRONMENT = {"name": "l2f", "observation": OBSERVATION}
"""How RLtools' checkpoints name the simulator and the observation."""
_STEPS, _EPISODES = 500, 2
"""Shape of the example; PX4 reads it with the strides of the published policy's example."""


class Dense(NamedTuple):
    """A dense layer."""

    kernel: np.ndarray
    """[inputs, outputs]."""
    bias: np.ndarray
    """[outputs]."""
    activation: str
    """In RLtools' notation."""


class Layers(NamedTuple):
    """The three layers."""

    input: Dense
    gru: dict[str, np.ndarray]
    """By RLtools' names, in its order: weights [3 W, W], biases [3 W], initial_hidden_state [W]; gates r, z, n."""
    output: Dense


class Example(NamedTuple):
    """Observations and actions with which a reader can check that it loaded the policy correctly."""

    input: np.ndarray
    """[500, 2, 22] observations from N(0, 1), as in RLtools: two episodes from their beginning."""
    output: np.ndarray
    """[500, 2, 4] the actions at them."""


def layers(student: Student) -> Layers:
    """Returns the layers of a student."""
    weights, width = student.layers, student.width
    return Layers(
        Dense(**weights["input"], activation="RELU"),
        _gru(weights["gru"], width),
        Dense(**weights["output"], activation="IDENTITY"),
    )


def example(student: Student) -> Example:
    """Returns the example of a student; its observations are always the same."""
    observations = np.random.default_rng(0).standard_normal((_STEPS, _EPISODES, INPUTS), np.float32)
    return Example(observations, student.fly(observations))


def _gru(gates: dict[str, Any], width: int) -> dict[str, np.ndarray]:
    nothing = np.zeros(width, np.float32)
    return {
        "weights_input": np.concatenate([gates[gate]["kernel"].T for gate in ("ir", "iz", "in")]),
        "biases_input": np.concatenate([gates[gate]["bias"] for gate in ("ir", "iz", "in")]),
        "weights_hidden": np.concatenate([gates[gate]["kernel"].T for gate in ("hr", "hz", "hn")]),
        "biases_hidden": np.concatenate([nothing, nothing, gates["hn"]["bias"]]),
        "initial_hidden_state": nothing,
    }
