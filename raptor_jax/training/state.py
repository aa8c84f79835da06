"""The state of a training: the job, the constant part, and the part that changes from chunk to chunk."""

import dataclasses
import enum
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh
from rich.console import Console

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.drones.files import DroneFile
from raptor_jax.drones.parameters import Drone
from raptor_jax.population.best import Best
from raptor_jax.population.state import Population
from raptor_jax.training.rounds import Everyone, Round


class Ending(enum.Enum):
    """How a training ended."""

    PASSED = "every teacher passed"
    NOT_PASSED = "some teacher did not pass"
    STOPPED = "stopped on request; it can be resumed"


class Job(NamedTuple):
    """What to train."""

    config: Config
    files: Sequence[DroneFile]
    """The drones; teacher i flies files[i]."""
    teacher_ids: np.ndarray
    """[T] identities of the teachers, which seed them."""
    output_dir: Path


@dataclasses.dataclass(frozen=True)
class Setup:
    """The part of the state that does not change during a training."""

    job: Job
    mesh: Mesh
    drones: Drone
    """Every array [T, ...], on the host."""
    warm_start: sac.Parameters | None
    """The actor with which every teacher begins; None for random weights."""
    keep_best: Callable[..., Best]
    """`best.keep`, with its result on every device."""
    console: Console

    @property
    def config(self) -> Config:
        """Returns the settings of the run."""
        return self.job.config

    @property
    def everyone(self) -> Everyone:
        """Returns all teachers, from which a round takes its own."""
        return Everyone(self.mesh, self.config, self.drones, self.job.teacher_ids, self.warm_start)


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
        self.active, self.restarts = np.ones(self.round.rows.size, bool), np.zeros(self.round.rows.size, int)

    def begin_round(self, now: Round) -> None:
        """Begins another round at this step, with the kept networks of its teachers."""
        self.round, self.population = now, now.create()
        self.began, self.began_with = self.step, np.asarray(self.best.mean_return)[now.rows]
        self._count_restarts()
