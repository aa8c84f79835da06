"""What the command `ceiling` adds to the `results.json` of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from raptor_jax.runs import layout
from raptor_jax.runs.directory import locked_if_free
from raptor_jax.runs.results import MAX_BYTES, read
from raptor_jax.runs.teacher_result import CEILING
from raptor_jax.utils.files import read_object, write_json, writing


class TeacherCeiling(NamedTuple):
    """One teacher: the best returns found, and its own in the same episodes; None if not finite."""

    teacher_id: int
    ceiling: float | None
    """Mean over the episodes, a lower bound of the best possible mean return."""
    ceiling_return: float | None
    """Mean return of the kept actor."""
    ceiling_episodes: int
    ceiling_share_terminated: float
    """Fraction of the episodes in which the best flight found ends by termination."""
    share_terminated: float
    """The same for the kept actor's own flights."""

    @property
    def share(self) -> float | None:
        """Returns the kept actor's return divided by the ceiling; None if there is no positive ceiling."""
        if self.ceiling is None or self.ceiling_return is None or self.ceiling <= 0:
            return None
        return self.ceiling_return / self.ceiling


def record(run: Path, step: int, found: Sequence[TeacherCeiling]) -> str | None:
    """Adds the ceilings to the `results.json` of a run, whose other content does not change.

    Args:
        run: output directory of the run.
        step: step of the checkpoint whose kept actors flew.
        found: the ceilings of some of its teachers.

    Returns:
        Why nothing was written; None if the ceilings were written.

    Raises:
        UserError: `results.json` does not contain the results of a run, or cannot be written.
    """
    path = run / layout.RESULTS
    with locked_if_free(run, "make it writable") as free:
        if not free:
            return "the run is in use"
        if read(path).run.step != step:
            return f"it does not belong to the kept actors of step {step:,}"
        content = read_object(path, MAX_BYTES)
        ceilings = {one.teacher_id: one._asdict() for one in found}
        for entry in content["teachers"]:
            if entry["teacher_id"] in ceilings:
                entry.update({name: ceilings[entry["teacher_id"]][name] for name in CEILING})
        with writing(path, "make it writable"):
            write_json(path, content)
    return None
