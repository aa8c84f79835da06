"""The content of `results.json`: the results of a run and of each teacher.

The models here and in `teacher_result` are the only description of `results.json`. They also read files of older
versions and of other programs: missing fields have defaults, and unknown fields are kept.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import jax
import numpy as np
import pydantic

from raptor_jax.drones.files import DroneFile
from raptor_jax.errors import UserError
from raptor_jax.evaluation import Evaluation
from raptor_jax.runs import stored_config
from raptor_jax.runs.teacher_result import BEFORE_FINAL, FINAL, Count, Model, TeacherResult, untrained
from raptor_jax.utils.files import Unreadable, json_number, read_object
from raptor_jax.utils.machine import machine, versions

MAX_BYTES = 1 << 24
"""A teacher, or a drone of a student, takes less than 1 kB."""

Purpose = Literal["compiling", "training", "evaluating"]
"""The purposes for which a run's time is recorded."""


def _require_pass_return(config: dict[str, Any]) -> dict[str, Any]:
    training = config.get("training")
    value = training.get("pass_return") if isinstance(training, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("training.pass_return should be a finite number")
    return config


def _require_jax(versions: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(versions.get("jax"), str):
        raise ValueError("jax should be a string")
    return versions


class RoundResult(Model):
    """A finished round of training."""

    teacher_ids: list[Count]
    steps: Count
    """Environment steps of each of its teachers."""
    updates: Count
    """Updates of each of its teachers."""


class Timings(Model):
    """Seconds that a run has spent, by purpose."""

    compiling: float = 0.0
    training: float = 0.0
    evaluating: float = 0.0

    @contextmanager
    def measured(self, purpose: Purpose) -> Iterator[None]:
        """Adds the seconds spent inside to a purpose."""
        started = time.perf_counter()
        try:
            yield
        finally:
            setattr(self, purpose, getattr(self, purpose) + time.perf_counter() - started)


class RunResult(Model):
    """The object `run`: what was trained, where, and the progress."""

    status: str
    """running, interrupted or finished."""
    output_dir: str | None = None
    config: Annotated[
        dict[str, Any], pydantic.BeforeValidator(stored_config.translate), pydantic.AfterValidator(_require_pass_return)
    ]
    """The settings, by section; those of version 0.1 are translated."""
    step: Count = 0
    """Environment steps of a teacher."""
    device: str
    machine: dict[str, Any] = pydantic.Field(default_factory=dict)
    versions: Annotated[dict[str, Any], pydantic.AfterValidator(_require_jax)]
    rounds: list[RoundResult] = pydantic.Field(default_factory=list)
    timings: Timings = pydantic.Field(default_factory=Timings)
    teacher_updates_per_second: float | None = None

    @property
    def pass_return(self) -> float:
        """Returns the mean return above which a teacher passes."""
        return float(self.config["training"]["pass_return"])


_Run = TypeVar("_Run")
_Read = TypeVar("_Read", bound=pydantic.BaseModel)


class _Results(Model, Generic[_Run]):
    """A run, or an evaluation of one, and its teachers."""

    run: _Run
    teachers: Annotated[list[TeacherResult], pydantic.Field(min_length=1)]

    def set_kept(self, mean_return: Any, step: Any) -> None:
        """Records the evaluation [T] that selected each kept actor, and its step [T]."""
        for entry, value, at in zip(self.teachers, np.asarray(mean_return), np.asarray(step), strict=True):
            entry.best_eval_reward = json_number(value)
            entry.best_step = int(at)

    def set_final_evaluation(self, evaluation: Evaluation, pass_return: float, final_path: str) -> None:
        """Records the final evaluation [T'] of the kept actors, and which teachers passed; T' may exceed T."""
        for row, entry in enumerate(self.teachers):
            for name in FINAL:
                setattr(entry, name, json_number(np.asarray(getattr(evaluation, name))[row]))
            entry.passed = entry.mean_return is not None and entry.mean_return > pass_return
            entry.final_path = final_path

    def set_stochastic(self, evaluation: Evaluation) -> None:
        """Records the mean returns [T'] with sampled actions in the episodes of the final evaluation."""
        for row, entry in enumerate(self.teachers):
            entry.stochastic_mean_return = json_number(np.asarray(evaluation.mean_return)[row])

    @property
    def all_passed(self) -> bool:
        """Returns whether every teacher passed."""
        return all(entry.passed for entry in self.teachers)

    def content(self) -> dict[str, Any]:
        """Returns a copy of the content of the file."""
        return self.model_dump()


class Results(_Results[RunResult]):
    """The content of `results.json`, updated as the run proceeds."""

    @classmethod
    def begin(
        cls, config: dict[str, Any], output_dir: Path, ids: Sequence[int], files: Sequence[DroneFile]
    ) -> "Results":
        """Returns the results that are known before the training.

        Args:
            config: the settings, by section.
            output_dir: of the run.
            ids: [T] identities of the teachers.
            files: the drone of each teacher, T of them.
        """
        run = RunResult(
            status="running",
            output_dir=str(output_dir),
            config=config,
            device=jax.devices()[0].device_kind,
            machine=machine(),
            versions=versions(),
        )
        return cls(run=run, teachers=untrained(ids, files))

    def restore(self, content: dict[str, Any]) -> None:
        """Restores the results saved with a checkpoint; machine, versions and settings remain the current ones."""
        saved = Results.model_validate(content)
        self.run.step, self.run.rounds, self.run.timings = saved.run.step, saved.run.rounds, saved.run.timings
        self.teachers = [entry.model_copy(update=BEFORE_FINAL) for entry in saved.teachers]

    def add_round(self, rows: Sequence[int], steps: int, updates: int) -> None:
        """Records a finished round: the rows of its teachers, and the steps and updates of each."""
        trained = [self.teachers[row] for row in rows]
        ids = [entry.teacher_id for entry in trained]
        self.run.rounds.append(RoundResult(teacher_ids=ids, steps=steps, updates=updates))
        for entry in trained:
            entry.rounds += 1

    def set_progress(self, step: int, teacher_updates: int) -> None:
        """Records the progress of the training: environment steps per teacher, and updates of all teachers."""
        self.run.step = step
        self.run.teacher_updates_per_second = teacher_updates / max(self.run.timings.training, 1e-9)


class EvaluationResults(_Results[dict[str, Any]]):
    """The results of `evaluate` for the kept actors of a run; the caller adds to `run`."""

    @classmethod
    def begin(cls, directory: Path, step: int, ids: Sequence[int], files: Sequence[DroneFile]) -> "EvaluationResults":
        """Returns the results that are known before the evaluation.

        Args:
            directory: output directory of the run.
            step: of the checkpoint.
            ids: [T] identities of the teachers.
            files: the drone of each teacher, T of them.
        """
        run = {
            "run": str(directory),
            "step": step,
            "device": jax.devices()[0].device_kind,
            "machine": machine(),
            "versions": versions(),
        }
        return cls(run=run, teachers=untrained(ids, files))


def read(path: Path) -> Results:
    """Reads a `results.json`.

    Raises:
        UserError: there is no such file, or it does not contain the results of a run.
    """
    return read_model(path, Results, "a run", "name the output directory of a run")


def read_model(path: Path, model: type[_Read], of: str, fix: str) -> _Read:
    """Reads a file of results.

    Args:
        path: the file.
        model: the model of its content.
        of: the subject of the results, for the error.
        fix: how to fix a missing or unreadable file.

    Raises:
        UserError: there is no such file, or its content does not match the model.
    """
    try:
        return model.model_validate(read_object(path, MAX_BYTES))
    except Unreadable as error:
        raise UserError(f"{path}: {error}; {fix}") from None
    except pydantic.ValidationError as error:
        problem = error.errors(include_input=False)[0]
        field = ".".join(map(str, problem["loc"]))
        reason = problem["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: not the results of {of}: {field}: {reason}; restore the file") from None


def require_teacher(run: Path, ids: Sequence[int], teacher_id: int) -> None:
    """Raises UserError unless a run has a teacher; `ids` are the identities of all its teachers."""
    if teacher_id not in ids:
        raise UserError(f"--teacher {teacher_id}: {run} has the teachers {min(ids)} to {max(ids)}; name one of them")
