"""Curves for TensorBoard: event files of the first teachers, and of the population's quantiles."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

QUANTILES = {"min": 0.0, "q05": 0.05, "q50": 0.5, "q95": 0.95, "max": 1.0}


class TensorBoard:
    """Event files: one run for each of the first teachers, and one for each quantile over the population."""

    def __init__(self, directory: Path, teacher_ids: Sequence[int], own_curves: int, resumed_at: int | None) -> None:
        """Opens event files in `directory`; the first `own_curves` teachers get a run of their own.

        Points of existing files after the step `resumed_at` are hidden, because the resumed run repeats them.
        """
        self._teachers = [EventFile(directory / f"teacher_{i:04d}") for i in list(teacher_ids)[:own_curves]]
        self._quantiles = {name: EventFile(directory / f"population_{name}") for name in QUANTILES}
        if resumed_at is not None:
            for file in self._files():
                file.hide_after(resumed_at)

    def add(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Adds a point, values [T] by tag, at a step; NaN (no value) is omitted. Raises OSError."""
        for teacher, file in enumerate(self._teachers):
            file.add_scalars(step, {tag: float(array[teacher]) for tag, array in values.items()})
        reported = {tag: array[np.isfinite(array)] for tag, array in values.items() if np.isfinite(array).any()}
        for name, quantile in QUANTILES.items():
            scalars = {tag: float(np.quantile(array, quantile)) for tag, array in reported.items()}
            self._quantiles[name].add_scalars(step, scalars)

    def reopen_deleted(self) -> bool:
        """Opens new files in place of deleted ones; returns whether there were any."""
        deleted = [file for file in self._files() if not file.path.exists()]
        for file in deleted:
            file.close()
            file.open()
        return bool(deleted)

    def close(self) -> None:
        """Closes the files."""
        for file in self._files():
            file.close()

    def _files(self) -> list["EventFile"]:
        return [*self._teachers, *self._quantiles.values()]


class EventFile:
    """The events of one run of TensorBoard; each has been passed to the operating system when `add` returns.

    TensorBoard's own EventFileWriter writes from a thread, which prints a traceback when the disk is full or the
    directory is deleted, and its flushes depend on a clock that may jump.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.open()

    def open(self) -> None:
        """Starts a new file. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads files in the order of their names: a new one must come last even if the clock jumped back.
        before = [path.name.split(".")[3] for path in self._directory.glob("events.out.tfevents.*")]
        newest = max((int(number) for number in before if number.isdecimal()), default=0)
        number = max(int(time.time()), newest + 1)
        self.path = self._directory / f"events.out.tfevents.{number:010d}.raptor_jax"
        self._file = self.path.open("xb", buffering=0)
        self._writer = RecordWriter(self)
        self.add(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def add_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Appends a point, values by tag, at a step; values that are not finite are omitted. Raises OSError."""
        points = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items() if np.isfinite(value)]
        if points:
            self.add(Event(wall_time=time.time(), step=step, summary=Summary(value=points)))

    def hide_after(self, step: int) -> None:
        """Hides the points after a step in the other files of the directory. Raises OSError."""
        start = SessionLog(status=SessionLog.START)
        self.add(Event(wall_time=time.time(), step=step + 1, session_log=start))

    def add(self, event: Event) -> None:
        """Appends an event. Raises OSError."""
        self._writer.write(event.SerializeToString())

    def write(self, record: bytes) -> None:
        """Writes a whole record; a disk that fills up accepts a part of it before it reports an error."""
        while record:
            record = record[self._file.write(record) :]

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
