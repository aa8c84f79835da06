"""What changes as a distillation proceeds."""

import dataclasses
from typing import Any

import flax.serialization
import jax
import numpy as np

from raptor_jax import student
from raptor_jax.student import Learner


@dataclasses.dataclass
class State:
    """The student in training, and the best one so far."""

    learner: Learner
    """On the devices; donated to each chunk."""
    best: student.Weights
    """On the host."""
    best_return: float = -np.inf
    """Its mean return over the drones and episodes of the evaluations."""
    best_iteration: int = 0

    @property
    def iteration(self) -> int:
        """Returns the iterations so far."""
        return int(self.learner.iteration)

    def keep_if_best(self, mean_return: float) -> None:
        """Keeps the student in training if its mean return is higher than that of the best one so far."""
        if mean_return > self.best_return:
            self.best = jax.device_get(self.learner.weights)
            self.best_return, self.best_iteration = mean_return, self.iteration

    def kept_tree(self) -> dict[str, Any]:
        """Returns a checkpoint's content for the best student, as nested dictionaries of NumPy arrays."""
        return {
            "weights": self.best["params"],
            "mean_return": np.float32(self.best_return),
            "iteration": np.int32(self.best_iteration),
        }

    def latest_tree(self) -> dict[str, Any]:
        """Returns a checkpoint's content for the student in training, as nested dictionaries of arrays."""
        tree: dict[str, Any] = flax.serialization.to_state_dict(self.learner)
        return tree


def restored(fresh: Learner, kept: dict[str, Any], latest: dict[str, Any]) -> State:
    """Returns the state from a checkpoint's content; `fresh` is an untrained student with the same settings."""
    return State(
        learner=flax.serialization.from_state_dict(fresh, latest),
        best={"params": kept["weights"]},
        best_return=float(kept["mean_return"]),
        best_iteration=int(kept["iteration"]),
    )
