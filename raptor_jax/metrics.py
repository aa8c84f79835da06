"""Curves in a file that NumPy opens, and the same for TensorBoard."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from raptor_jax.errors import UserError
from raptor_jax.storage import Unreadable, read_arrays, write_atomically

CURVES = "curves.npz"
"""Where a run keeps its curves, under its output directory."""

_MAX_BYTES = 1 << 30
"""A thousand teachers' curves take some 20 MB."""

QUANTILES = {"min": 0.0, "q05": 0.05, "q50": 0.5, "q95": 0.95, "max": 1.0}


class Curves:
    """Every teacher's curves in memory: named groups of points over environment steps of a teacher."""

    def __init__(self, teacher_ids: Sequence[int]) -> None:
        """Starts empty, for teachers with these identities, [T]."""
        self._teacher_ids = np.asarray(teacher_ids, np.int32)
        self._points: dict[str, list[tuple[int, Mapping[str, np.ndarray]]]] = {}

    def restore(self, path: Path, last_step: int) -> None:
        """Takes over the points up to a step of what `save` wrote; without that file the curves begin here."""
        if not os.path.lexists(path):
            return
        arrays = load_curves(path)
        for group in ("train", "eval"):
            names = [name for name in arrays if name.startswith(f"{group}_") and name != f"{group}_step"]
            for point, step in enumerate(arrays.get(f"{group}_step", ())):
                if step <= last_step:
                    values = {name.removeprefix(f"{group}_"): arrays[name][point] for name in names}
                    self.add(group, int(step), values)

    def add(self, group: str, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Adds a point, values [T] by name, to the curves of a group ("train" or "eval")."""
        self._points.setdefault(group, []).append((step, values))

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns `teacher_id` [T] and, for each group, GROUP_step [S] and each GROUP_NAME [S, T] in float32."""
        arrays = {"teacher_id": self._teacher_ids}
        for group, points in self._points.items():
            arrays[f"{group}_step"] = np.array([step for step, _ in points], np.int64)
            for name in points[0][1]:
                arrays[f"{group}_{name}"] = np.array([values[name] for _, values in points], np.float32)
        return arrays

    def save(self, path: Path) -> None:
        """Writes the arrays as a compressed .npz, atomically."""
        write_atomically(path, lambda file: np.savez_compressed(file, **cast(Any, self.arrays())))


def load_curves(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays that `Curves.save` wrote: `teacher_id` [T] and, by group, steps [S] and values [S, T].

    Raises:
        UserError: there is no such file, or it does not hold curves.
    """
    try:
        arrays = read_arrays(path, _MAX_BYTES)
    except Unreadable as error:
        raise UserError(f"{path}: {error}; restore it (a run writes it at its first evaluation)") from None
    if "teacher_id" not in arrays or arrays["teacher_id"].ndim != 1:
        raise UserError(f"{path}: holds no curves: teacher_id is no list; restore the file")
    for name, array in arrays.items():
        group = name.partition("_")[0]
        points = arrays.get(f"{group}_step", np.zeros(())).shape
        expected = points if name == f"{group}_step" else (*points, *arrays["teacher_id"].shape)
        if name != "teacher_id" and (len(points) != 1 or array.shape != expected or array.dtype.kind not in "fi"):
            raise UserError(
                f"{path}: {name} should hold numbers of shape {expected}, and is {array.dtype} of shape {array.shape};"
                " restore the file"
            )
    return arrays


class TensorBoard:
    """Event files: one run for each of the first teachers, and one for each quantile over the population."""

    def __init__(self, directory: Path, teacher_ids: Sequence[int], own_curves: int, first_step: int) -> None:
        """Opens `directory`; the first `own_curves` teachers get a run of their own.

        What lies there already from `first_step` on is not shown any more: a resumed run does it again.
        """
        self._teachers = [self._open(directory / f"teacher_{i:04d}") for i in list(teacher_ids)[:own_curves]]
        self._quantiles = {name: self._open(directory / f"population_{name}") for name in QUANTILES}
        if first_step:
            for writer in (*self._teachers, *self._quantiles.values()):
                start = SessionLog(status=SessionLog.START)
                writer.add_event(Event(wall_time=time.time(), step=first_step + 1, session_log=start))

    @staticmethod
    def _open(directory: Path) -> EventFileWriter:
        return EventFileWriter(str(directory), flush_secs=10)

    def add(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Adds a point, values [T] by tag, at a step; NaN (nothing to report) is left out."""
        for teacher, writer in enumerate(self._teachers):
            self._write(writer, step, {tag: float(array[teacher]) for tag, array in values.items()})
        reported = {tag: array[np.isfinite(array)] for tag, array in values.items() if np.isfinite(array).any()}
        for name, quantile in QUANTILES.items():
            scalars = {tag: float(np.quantile(array, quantile)) for tag, array in reported.items()}
            self._write(self._quantiles[name], step, scalars)

    @staticmethod
    def _write(writer: EventFileWriter, step: int, scalars: Mapping[str, float]) -> None:
        points = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items() if np.isfinite(value)]
        if points:
            writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=points)))

    def close(self) -> None:
        """Writes everything out."""
        for writer in (*self._teachers, *self._quantiles.values()):
            writer.close()
