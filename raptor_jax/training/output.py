"""What a training writes while it runs: results, curves, TensorBoard and checkpoints."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager

import numpy as np

from raptor_jax.population import sharding
from raptor_jax.runs import checkpoints, layout
from raptor_jax.runs.curves import Curves
from raptor_jax.runs.results import Purpose, Results
from raptor_jax.runs.tensorboard import TensorBoard
from raptor_jax.training import failures
from raptor_jax.training.setup import Setup
from raptor_jax.utils.console import say
from raptor_jax.utils.files import write_json


class Output:
    """The files of a training; only the main process writes results, curves and TensorBoard's files."""

    def __init__(self, setup: Setup) -> None:
        """Starts with empty results and curves, and opens the checkpoints."""
        job, ids = setup.job, setup.job.teacher_ids.tolist()
        self._job, self._console = job, setup.console
        self.results = Results.begin(job.config.model_dump(), job.output_dir, ids, job.files)
        self.curves = Curves(ids, setup.most_steps)
        self.checkpoints = checkpoints.Writer(job.output_dir)
        self._tensorboard: TensorBoard | None = None

    def open_tensorboard(self, resumed_at: int | None) -> None:
        """Opens TensorBoard's files; after a resume, points of old files beyond the resumed step are hidden."""
        if sharding.is_main_process():
            own_curves = self._job.config.training.tensorboard_teachers
            ids = self._job.teacher_ids.tolist()
            self._tensorboard = TensorBoard(self._job.output_dir / layout.LOGS, ids, own_curves, resumed_at)

    def timed(self, purpose: Purpose) -> AbstractContextManager[None]:
        """Adds the seconds spent inside to the timings in the results."""
        return self.results.run.timings.measured(purpose)

    def log(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Adds a point, values [T] by tag, to TensorBoard's curves."""
        if self._tensorboard is None:
            return
        if self._tensorboard.reopen_deleted():
            say(
                self._console,
                f"{self._job.output_dir / layout.LOGS}: files were deleted; TensorBoard continues in new files from"
                f" step {step:,}, and {layout.CURVES} has all points",
                "yellow",
            )
        self._tensorboard.add(step, values)

    def write_results(self) -> None:
        """Writes the results and the curves."""
        if sharding.is_main_process():
            self.curves.save(self._job.output_dir / layout.CURVES)
            write_json(self._job.output_dir / layout.RESULTS, self.results.content())

    def close(self) -> None:
        """Writes the results a last time, and closes all files, even if one of them fails."""
        if self.results.run.status == "running":
            self.results.run.status = "interrupted"
        with self.failures_reported(), ExitStack() as closing:
            closing.callback(self.checkpoints.close)
            if self._tensorboard is not None:
                closing.callback(self._tensorboard.close)
            closing.callback(self.write_results)

    @contextmanager
    def failures_reported(self) -> Iterator[None]:
        """Converts failures to one-line errors, as `failures.reported` does, with the current step."""
        with failures.reported(self._job, lambda: self.results.run.step):
            yield
