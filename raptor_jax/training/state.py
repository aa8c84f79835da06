"""The part of the state of a training that changes from chunk to chunk, and how a training ends."""

import dataclasses
import enum

import numpy as np

from raptor_jax.population.best import Best
from raptor_jax.population.state import Population
from raptor_jax.training.rounds import Round


class Ending(enum.Enum):
    """How a training ended."""

    PASSED = "every teacher passed"
    NOT_PASSED = "some teacher did not pass"
    STOPPED = "stopped on request; it can be resumed"


@dataclasses.dataclass
class RunState:
    """The part of the state that changes during a training."""

    round: Round
    population: Population
    """The round's teachers, on the devices; donated to each chunk."""
    best: Best
    """The kept networks of all T teachers."""
    began_with: np.ndarray
    """[R] mean return of each teacher's kept actor when the round began; -inf before the first evaluation."""
    step: int = 0
    """Environment steps per teacher, over all rounds."""
    began: int = 0
    """The step at which this round began."""
    teacher_updates: int = 0
    """Sum of the updates of all teachers."""
    active: np.ndarray = dataclasses.field(init=False)
    """[R] bool, False once a teacher of the round is frozen."""
    restarts: np.ndarray = dataclasses.field(init=False)
    """[R] how often a teacher of the round was rolled back."""

    def __post_init__(self) -> None:
        """Begins to count the restarts of the first round."""
        self._count_restarts()

    def _count_restarts(self) -> None:
        """Begins to count the restarts of the round."""
        # A copy, because JAX's arrays on the host are read-only.
        self.active = np.array(self.round.of_real_teachers(self.population.active))
        self.restarts = np.zeros(self.round.rows.size, int)

    def begin_round(self, now: Round) -> None:
        """Begins another round at this step, with the kept networks of its teachers."""
        self.round, self.population = now, now.create()
        self.began, self.began_with = self.step, np.asarray(self.best.mean_return)[now.rows]
        self._count_restarts()
