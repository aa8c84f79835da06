"""The content of student.json, for writing and reading: the results of a distillation."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pydantic

from raptor_jax.runs import layout
from raptor_jax.runs.results import Timings, read_model
from raptor_jax.utils.files import json_number
from raptor_jax.utils.machine import machine, versions


class Returns(pydantic.BaseModel):
    """Summary of mean returns over drones; a number that is not finite is None."""

    mean: float | None
    median: float | None
    percentile_5: float | None
    worst: float | None
    passed: int
    """Number of drones with a mean return above the pass return."""
    drones: int

    @classmethod
    def of(cls, mean_return: np.ndarray, pass_return: float) -> "Returns":
        """Returns the summary of mean returns [D]."""
        low, median = np.percentile(mean_return, [5, 50])
        return cls(
            mean=json_number(mean_return.mean()),
            median=json_number(median),
            percentile_5=json_number(low),
            worst=json_number(mean_return.min()),
            passed=int(np.sum(mean_return > pass_return)),
            drones=mean_return.size,
        )

    def __str__(self) -> str:
        """Returns the summary in words."""
        median, low, worst = ("-" if x is None else f"{x:.0f}" for x in (self.median, self.percentile_5, self.worst))
        return f"median {median}, 5th percentile {low}, worst {worst}, passing {self.passed}/{self.drones}"


class Point(pydantic.BaseModel):
    """An evaluation during the distillation."""

    iteration: int
    loss: float | None
    """Mean over the iterations since the last point of the training curves."""
    returns: Returns


class StudentOnDrone(pydantic.BaseModel):
    """The student on the drone of one teacher, in the final evaluation."""

    teacher_id: int
    drone: str
    mean_return: float | None
    std_return: float | None
    share_terminated: float | None
    teacher_mean_return: float | None
    """Mean return of the teacher, from its run."""


class StudentResults(pydantic.BaseModel):
    """The content of student.json."""

    run: str
    """Output directory of the teachers' run."""
    teachers: list[int]
    """Identities of the teachers from which the student learned."""
    left_out: list[int]
    """Identities of the teachers that did not pass."""
    config: dict[str, Any]
    """The settings, by section."""
    device: str
    machine: dict[str, Any]
    versions: dict[str, str]
    status: str = "running"
    """running, interrupted or finished."""
    iteration: int = 0
    timings: Timings = pydantic.Field(default_factory=Timings)
    curve: list[Point] = []
    final: Returns | None = None
    """Returns of the best student on the drones of its teachers; None before the end."""
    drones: list[StudentOnDrone] = []
    """The same for each drone."""

    @classmethod
    def begin(cls, run: Path, teachers: list[int], left_out: list[int], config: dict[str, Any]) -> "StudentResults":
        """Returns the results that are known before the distillation."""
        return cls(
            run=str(run),
            teachers=teachers,
            left_out=left_out,
            config=config,
            device=jax.devices()[0].device_kind,
            machine=machine(),
            versions=versions(),
        )

    def restore(self, saved: dict[str, Any]) -> None:
        """Restores the results saved with a checkpoint; machine, versions and settings remain the current ones."""
        before = StudentResults.model_validate(saved)
        self.iteration, self.timings, self.curve = before.iteration, before.timings, before.curve

    @property
    def pass_return(self) -> float:
        """Returns the mean return above which a teacher passed."""
        return float(self.config["training"]["pass_return"])


def read(directory: Path) -> StudentResults:
    """Reads the results of a distillation.

    Args:
        directory: the directory that `distill` wrote.

    Raises:
        UserError: there is no such file, or it does not contain the results of a distillation.
    """
    path = directory / layout.STUDENT_RESULTS
    return read_model(path, StudentResults, "a student", "name a directory that distill wrote")
