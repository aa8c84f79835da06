"""The constant part of a training: what to train, on which devices, and from which weights."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh
from rich.console import Console

from raptor_jax.config import Config
from raptor_jax.drones.files import DroneFile, stack_for_training
from raptor_jax.population import best, sharding
from raptor_jax.population.best import Best
from raptor_jax.runs import warm_start
from raptor_jax.training import rounds
from raptor_jax.training.rounds import AllTeachers


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
    everyone: AllTeachers
    """All teachers, from which a round takes its own."""
    most_steps: int
    """Environment steps of a teacher that is trained in all rounds."""
    keep_best: Callable[..., Best]
    """`best.keep`, with its result on every device."""
    console: Console

    @property
    def config(self) -> Config:
        """Returns the settings of the run."""
        return self.job.config

    @property
    def mesh(self) -> Mesh:
        """Returns the devices."""
        return self.everyone.mesh


def set_up(job: Job, console: Console) -> Setup:
    """Returns the constant part of the state; writes nothing.

    Raises:
        UserError: a file or a task is unusable, or the run has too many steps.
    """
    mesh = sharding.mesh()
    most_steps = rounds.most_steps(job.config)
    drones = stack_for_training(job.files, job.config.environment)
    everyone = rounds.all_teachers(mesh, job.config, drones, job.teacher_ids, warm_start.load(job.config))
    return Setup(job, everyone, most_steps, sharding.replicate(mesh, best.keep), console)
