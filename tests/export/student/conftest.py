"""A student to export, and a flight of it: random weights, large enough that its memory matters and all biases show."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import student
from raptor_jax.runs import student_file

STEPS, EPISODES = 500, 2
PROVENANCE = {"run": {"directory": "a/*/b ?? \\ */ ü\n"}, "teachers": [0, 1], "loss": 0.25}
"""With traps for C and for JSON."""


class Flight(NamedTuple):
    """What an exported student must do, from a fresh memory."""

    observations: np.ndarray
    """[500, 2, 22]."""
    actions: np.ndarray
    """[500, 2, 4], of the network in JAX."""


def random_student(width: int) -> student.Weights:
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


@pytest.fixture(scope="session")
def weights() -> student.Weights:
    return random_student(16)


@pytest.fixture(scope="session")
def home(weights, tmp_path_factory) -> Path:
    """The directory that `distill` would have written; not to be written into."""
    directory = tmp_path_factory.mktemp("students") / "distilled"
    student_file.save(directory / student_file.NAME, weights, PROVENANCE)
    return directory


@pytest.fixture(scope="session")
def flight(weights) -> Flight:
    observations = 0.5 * np.random.default_rng(1).standard_normal((STEPS, EPISODES, 22), np.float32)
    actions = fly(weights, observations)
    # Without its memory it must act differently, or a lost memory would not show.
    assert np.abs(fly(weights, observations[-1:]) - actions[-1]).max() > 0.1
    return Flight(observations, actions)
