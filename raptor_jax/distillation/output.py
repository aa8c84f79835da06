"""What a distillation writes while it runs: the student, its results, TensorBoard and checkpoints."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import jax
import numpy as np

from raptor_jax import student
from raptor_jax.config import Config
from raptor_jax.distillation.state import State
from raptor_jax.distillation.teachers import Teachers
from raptor_jax.evaluation import Evaluation
from raptor_jax.runs import checkpoints, layout, student_file
from raptor_jax.runs.checkpoints import StudentNotes
from raptor_jax.runs.results import Purpose
from raptor_jax.runs.student_results import Point, Returns, StudentOnDrone, StudentResults
from raptor_jax.runs.tensorboard import EventFile
from raptor_jax.training import failures
from raptor_jax.utils.files import json_number, write_json


class Output:
    """The files of a distillation."""

    def __init__(self, directory: Path, run: Path, config: Config, teachers: Teachers) -> None:
        """Starts with empty results, and opens the checkpoints."""
        self._directory, self._teachers = directory, teachers
        self._tensorboard: EventFile | None = None
        self.checkpoints = checkpoints.Writer(directory)
        self.results = StudentResults.begin(run, teachers.ids, teachers.left_out, config.model_dump())

    def open_tensorboard(self, resumed_at: int | None) -> None:
        """Opens TensorBoard's files; after a resume, points of old files beyond the resumed iteration are hidden."""
        self._tensorboard = EventFile(self._directory / layout.LOGS)
        if resumed_at is not None:
            self._tensorboard.hide_after(resumed_at)

    def timed(self, purpose: Purpose) -> AbstractContextManager[None]:
        """Adds the seconds spent inside to the timings in the results."""
        return self.results.timings.measured(purpose)

    def log(self, iteration: int, values: Mapping[str, float]) -> None:
        """Adds a point to TensorBoard's curves, values by tag."""
        if self._tensorboard is not None:
            self._tensorboard.add_scalars(iteration, values)

    def add_evaluation(self, iteration: int, mean_return: np.ndarray, loss: float) -> Point:
        """Adds an evaluation, mean returns [D] on the drones, to the curve, and returns the point."""
        returns = Returns.of(mean_return, self.results.pass_return)
        self.log(iteration, {f"eval/{name}": value for name, value in returns if value is not None})
        point = Point(iteration=iteration, loss=json_number(loss), returns=returns)
        self.results.curve.append(point)
        return point

    def save(self, state: State) -> None:
        """Writes results, student and a checkpoint."""
        self.write(state)
        notes = StudentNotes(self._teachers.digest, self.results.model_dump())
        self.checkpoints.save(state.iteration, state.kept_tree(), state.latest_tree(), notes)

    def write(self, state: State) -> None:
        """Writes the results and the best student."""
        results = self.results
        results.iteration = state.iteration
        provenance = {
            "distilled_from": results.run,
            "teachers": len(results.teachers),
            "iteration": state.best_iteration,
            "mean_return": json_number(state.best_return),
            "parameters": student.parameter_count(state.best),
            "config": results.config,
            "machine": results.machine,
            "versions": results.versions,
        }
        student_file.save(self._directory / layout.STUDENT, state.best, provenance)
        write_json(self._directory / layout.STUDENT_RESULTS, results.model_dump())

    def set_final(self, found: Evaluation) -> None:
        """Records the final evaluation [T] of the best student on the drones of its teachers."""
        teachers, final = self._teachers, jax.device_get(found)
        self.results.final = Returns.of(final.mean_return, self.results.pass_return)
        self.results.drones = [
            StudentOnDrone(
                teacher_id=teachers.ids[row],
                drone=teachers.drone_names[row],
                mean_return=json_number(final.mean_return[row]),
                std_return=json_number(final.std_return[row]),
                share_terminated=json_number(final.share_terminated[row]),
                teacher_mean_return=json_number(teachers.mean_return[row]),
            )
            for row in range(len(teachers.ids))
        ]

    def close(self) -> None:
        """Closes all files, even where one of them fails."""
        with ExitStack() as closing:
            closing.callback(self.checkpoints.close)
            if self._tensorboard is not None:
                closing.callback(self._tensorboard.close)

    @contextmanager
    def failures_reported(self) -> Iterator[None]:
        """Converts write errors and exhausted device memory to a one-line UserError."""
        lower = "lower distillation.episodes or distillation.batch_episodes"
        with failures.converted(self._directory, lambda: f"after iteration {self.results.iteration}; {lower}"):
            yield
