"""What a distillation writes while it runs: the student, its results, TensorBoard and checkpoints."""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from raptor_jax import student
from raptor_jax.config import Config
from raptor_jax.distillation.state import State
from raptor_jax.distillation.teachers import Teachers
from raptor_jax.errors import UserError
from raptor_jax.evaluation import Evaluation
from raptor_jax.runs import checkpoints, layout, student_file
from raptor_jax.runs.checkpoints import StudentNotes
from raptor_jax.runs.tensorboard import EventFile
from raptor_jax.utils.files import json_number, write_json, writing
from raptor_jax.utils.machine import machine, versions

_PERCENTILES = {"median": 50, "percentile_5": 5}


class Output:
    """The files of a distillation. `results` is the content of student.json."""

    def __init__(self, directory: Path, run: Path, config: Config, teachers: Teachers) -> None:
        """Starts with empty results, and opens the checkpoints."""
        self._directory, self._teachers = directory, teachers
        self._tensorboard: EventFile | None = None
        self.checkpoints = checkpoints.Writer(directory)
        self.results: dict[str, Any] = {
            "status": "running",
            "run": str(run),
            "teachers": teachers.ids,
            "left_out": teachers.left_out,
            "config": config.model_dump(),
            "device": jax.devices()[0].device_kind,
            "machine": machine(),
            "versions": versions(),
            "iteration": 0,
            "timings": {"compiling": 0.0, "training": 0.0, "evaluating": 0.0},
            "curve": [],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Takes over what was saved with a checkpoint; machine, versions and settings stay the current ones."""
        self.results.update({name: saved[name] for name in ("iteration", "timings", "curve")})

    def open_tensorboard(self, resumed_at: int | None) -> None:
        """Opens TensorBoard's files; those of a distillation resumed at an iteration hide what comes after it."""
        self._tensorboard = EventFile(self._directory / layout.LOGS)
        if resumed_at is not None:
            self._tensorboard.hide_after(resumed_at)

    @contextmanager
    def timed(self, purpose: Literal["compiling", "training", "evaluating"]) -> Iterator[None]:
        """Adds the seconds spent inside to the timings in the results."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.results["timings"][purpose] += time.perf_counter() - started

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """Adds a point to TensorBoard's curves, values by tag."""
        if self._tensorboard is not None:
            self._tensorboard.add_scalars(iteration, values)

    def add_evaluation(self, iteration: int, mean_return: np.ndarray, loss: float) -> dict[str, Any]:
        """Adds an evaluation, mean returns [D] on the drones, to the curve, and returns the point."""
        bar = self.results["config"]["training"]["pass_return"]
        found = summary(mean_return, bar)
        self.log(iteration, {f"eval/{name}": value for name, value in found.items() if value is not None})
        point = {"iteration": iteration, "loss": json_number(loss), **found}
        self.results["curve"].append(point)
        return point

    def save(self, state: State) -> None:
        """Writes results, student and a checkpoint."""
        self.write(state)
        notes = StudentNotes(self._teachers.digest, self.results)
        self.checkpoints.save(state.iteration, state.kept_tree(), state.latest_tree(), notes)

    def write(self, state: State) -> None:
        """Writes the results and the best student."""
        self.results["iteration"] = state.iteration
        provenance = {
            "distilled_from": self.results["run"],
            "teachers": len(self._teachers.ids),
            "iteration": state.best_iteration,
            "mean_return": json_number(state.best_return),
            "parameters": student.parameter_count(state.best),
            **{name: self.results[name] for name in ("config", "machine", "versions")},
        }
        student_file.save(self._directory / layout.STUDENT, state.best, provenance)
        write_json(self._directory / layout.STUDENT_RESULTS, self.results)

    def set_final(self, final: Evaluation) -> None:
        """Records the final evaluation [T] of the best student on the drones of its teachers."""
        teachers = self._teachers
        returns, deviations = np.asarray(final.mean_return), np.asarray(final.std_return)
        self.results["final"] = summary(returns, self.results["config"]["training"]["pass_return"])
        self.results["drones"] = [
            {
                "teacher_id": teachers.ids[row],
                "drone": teachers.drone_names[row],
                "mean_return": json_number(returns[row]),
                "std_return": json_number(deviations[row]),
                "share_terminated": json_number(np.asarray(final.share_terminated)[row]),
                "teacher_mean_return": json_number(teachers.mean_return[row]),
            }
            for row in range(len(teachers.ids))
        ]

    def close(self) -> None:
        """Closes all files, even where one of them fails."""
        with ExitStack() as closing:
            closing.callback(self.checkpoints.close)
            if self._tensorboard is not None:
                closing.callback(self._tensorboard.close)

    @contextmanager
    def failures_reported(self, settings: str) -> Iterator[None]:
        """Converts write errors and exhausted device memory to a one-line UserError.

        Args:
            settings: what to lower where the memory does not suffice.
        """
        try:
            with writing(self._directory, "the last checkpoint is whole: make room and continue with --resume"):
                yield
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise UserError(
                f"out of device memory after iteration {self.results['iteration']}; lower {settings}"
            ) from None


def summary(mean_return: np.ndarray, bar: float) -> dict[str, Any]:
    """Returns mean, median, 5th percentile, worst and how many are above the bar, of mean returns [D] by drone."""
    percentiles = {name: json_number(np.percentile(mean_return, value)) for name, value in _PERCENTILES.items()}
    return {
        "mean": json_number(mean_return.mean()),
        **percentiles,
        "worst": json_number(mean_return.min()),
        "passed": int(np.sum(mean_return > bar)),
        "drones": mean_return.size,
    }
