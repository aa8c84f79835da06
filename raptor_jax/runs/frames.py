"""Teachers and curves as pandas DataFrames (extra `notebook`); pandas is imported on first use."""

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from raptor_jax.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame


def teachers_frame(teachers: Mapping[str, np.ndarray]) -> "DataFrame":
    """Returns a row for each teacher, from its columns [T] by name."""
    return _pandas().DataFrame(dict(teachers))


def curves_frame(
    run: np.ndarray, teacher_id: np.ndarray, step: np.ndarray, values: Mapping[str, np.ndarray]
) -> "DataFrame":
    """Returns a row for each teacher and point at which the teacher has a value.

    Args:
        run: [T] index of the run of each teacher.
        teacher_id: [T] its number there.
        step: [S] environment steps of a teacher.
        values: [T, S] by name.
    """
    columns = {
        "run": np.repeat(run, len(step)),
        "teacher_id": np.repeat(teacher_id, len(step)),
        "step": np.tile(step, len(run)),
        **{name: value.ravel() for name, value in values.items()},
    }
    return _pandas().DataFrame(columns).dropna(how="all", subset=list(values)).reset_index(drop=True)


def _pandas() -> ModuleType:
    try:
        import pandas
    except ModuleNotFoundError:
        raise UserError("a DataFrame needs the package pandas; install raptor-jax[notebook]") from None
    return pandas
