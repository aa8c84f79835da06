"""The student: its weights, their provenance, and how it acts."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from raptor_jax import student
from raptor_jax.evaluation.students import StudentPolicy
from raptor_jax.runs import student_file
from raptor_jax.student import Weights

OBSERVATION = "Position.OrientationRotationMatrix.LinearVelocity.AngularVelocityDelayed(0).ActionHistory(1)"
"""The student's observation in RLtools' notation."""


class Student(NamedTuple):
    """A recurrent policy for all drones."""

    directory: str
    """The name of the directory that contains its file."""
    weights: Weights
    """On the host."""
    provenance: dict[str, Any]
    """As `distill` wrote it."""

    @property
    def width(self) -> int:
        """The size of its memory."""
        return student_file.width(self.weights)

    @property
    def layers(self) -> dict[str, dict[str, Any]]:
        """The layers by name: input and output {kernel [inputs, outputs], bias [outputs]}; gru, the same by gate."""
        return self.weights["params"]

    @property
    def parameters(self) -> int:
        """The number of its parameters."""
        return student.parameter_count(self.weights)

    @property
    def fresh_memory(self) -> jax.Array:
        """The memory [width] at the beginning of an episode."""
        return student.fresh_memory(self.weights)

    def act(self, memory: jax.Array, observation: np.ndarray | jax.Array) -> tuple[jax.Array, jax.Array]:
        """Takes one step of the policy.

        Args:
            memory: [..., width] after the last step, `fresh_memory` before the first.
            observation: [..., 22], or a teacher's, [..., 26], whose rotor states are not used.

        Returns:
            The next memory [..., width], and the action [..., 4], clipped to [-1, 1].
        """
        return student.act_clipped(self.weights, memory, jnp.asarray(observation, jnp.float32))

    def policy(self) -> StudentPolicy:
        """Returns the student as a policy for `raptor_jax.evaluate`."""
        return StudentPolicy(self.weights)

    def fly(self, observations: np.ndarray) -> np.ndarray:
        """Returns the actions [T, B, 4], not clipped, at observations [T, B, 22] of B episodes from their beginning."""
        # By default a GPU multiplies with 10 bits of mantissa; examples in files must hold to 1e-5 on any machine.
        with jax.default_matmul_precision("highest"):
            return np.asarray(_fly(self.weights, observations))


def read_student(path: Path) -> Student:
    """Returns the student in a file, or in the directory that `distill` wrote.

    Raises:
        UserError: the file is missing, is damaged, or is not a student.
    """
    weights, provenance = student_file.load(path)
    return Student(student_file.directory(path).name, weights, provenance)


@jax.jit
def _fly(weights: Weights, observations: jax.Array) -> jax.Array:
    fresh = student.fresh_memory(weights)
    memory = jnp.broadcast_to(fresh, (observations.shape[1], *fresh.shape))
    _, actions = jax.lax.scan(lambda memory, observed: student.act(weights, memory, observed), memory, observations)
    return actions
