"""Every teacher's curves, in memory and in a .npz file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from raptor_jax.errors import UserError
from raptor_jax.utils.files import Unreadable, read_arrays, write_atomically

_MAX_BYTES = 1 << 30
"""The curves of a thousand teachers take some 20 MB."""

MOST_POINTS = 2000
"""Most points of a curve, besides the one that each extra round repeats; bounds memory, files and the time to write."""


class Curves:
    """Groups of curves, each a series of points over the environment steps of a teacher."""

    def __init__(self, teacher_ids: Sequence[int], most_steps: int = 0) -> None:
        """Creates empty curves for teachers with these identities [T], in a run of at most `most_steps` steps."""
        self._teacher_ids = np.asarray(teacher_ids, np.int32)
        self._spacing = -(-most_steps // MOST_POINTS)
        self._points: dict[str, list[tuple[int, Mapping[str, np.ndarray]]]] = {}

    def counts(self) -> dict[str, int]:
        """Returns the number of points of each group; a step is not unique, because an extra round repeats one."""
        return {group: len(points) for group, points in self._points.items()}

    def restore(self, path: Path, counts: Mapping[str, int]) -> None:
        """Restores the first `counts` points of a file. Raises UserError if it is missing or damaged."""
        arrays = load_curves(path)
        for group, count in counts.items():
            names = [name for name in arrays if name.startswith(f"{group}_") and name != f"{group}_step"]
            for point, step in enumerate(arrays.get(f"{group}_step", ())[:count]):
                values = {name.removeprefix(f"{group}_"): arrays[name][point] for name in names}
                self.add(group, int(step), values)

    def add(self, group: str, step: int, values: Mapping[str, np.ndarray]) -> bool:
        """Adds a point, values [T] by name, to the curves of a group ("train" or "eval").

        Returns:
            False if the point was omitted, because it is too close to the last one for the bound on the points.
        """
        points = self._points.setdefault(group, [])
        # An extra round begins at the step at which the previous round ended.
        if points and 0 < step - points[-1][0] < self._spacing:
            return False
        points.append((step, values))
        return True

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
        UserError: there is no such file, or it does not contain curves.
    """
    try:
        arrays = read_arrays(path, _MAX_BYTES)
    except Unreadable as error:
        raise UserError(f"{path}: {error}; restore it (a run writes it at its first evaluation)") from None
    if "teacher_id" not in arrays or arrays["teacher_id"].ndim != 1:
        raise UserError(f"{path}: contains no curves: teacher_id is not a list; restore the file")
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
