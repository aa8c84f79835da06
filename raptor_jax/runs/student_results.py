"""Reads student.json: what a distillation found out about its student."""

from pathlib import Path
from typing import Any

import pydantic

from raptor_jax.errors import UserError
from raptor_jax.runs import layout
from raptor_jax.utils.files import Unreadable, read_object

_MAX_BYTES = 1 << 24
"""A drone takes less than 1 kB."""


class StudentOnDrone(pydantic.BaseModel):
    """The student on the drone of one teacher, in the final evaluation."""

    teacher_id: int
    drone: str
    mean_return: float | None
    std_return: float | None
    share_terminated: float | None
    teacher_mean_return: float | None


class StudentResults(pydantic.BaseModel):
    """The content of student.json that is read."""

    run: str
    status: str
    drones: list[StudentOnDrone] = []
    """Empty before the final evaluation."""


def read(directory: Path) -> StudentResults:
    """Reads the results of a distillation.

    Args:
        directory: that `distill` wrote.

    Raises:
        UserError: there is no such file, or it does not hold the results of a distillation.
    """
    path = directory / layout.STUDENT_RESULTS
    try:
        content: dict[str, Any] = read_object(path, _MAX_BYTES)
        return StudentResults.model_validate(content)
    except Unreadable as error:
        raise UserError(f"{path}: {error}; name a directory that distill wrote") from None
    except pydantic.ValidationError as error:
        problem = error.errors(include_input=False)[0]
        field = ".".join(map(str, problem["loc"]))
        raise UserError(f"{path}: not the results of a student: {field}: {problem['msg']}; restore the file") from None
