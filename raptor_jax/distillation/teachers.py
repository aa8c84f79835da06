"""The teachers of a run that passed, from which the student learns."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from raptor_jax import sac
from raptor_jax.drones.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.runs import checkpoints, layout
from raptor_jax.runs.kept import load_kept, only
from raptor_jax.runs.results import read
from raptor_jax.runs.teacher_result import TeacherResult
from raptor_jax.utils.trees import take


class Teachers(NamedTuple):
    """T teachers."""

    ids: list[int]
    left_out: list[int]
    """Identities of those that did not pass."""
    actors: sac.Parameters
    """Weights, each [T, ...]."""
    drones: Drone
    """Every array [T, ...], with the task of the run."""
    drone_names: list[str]
    mean_return: np.ndarray
    """[T] mean return of each teacher on its drone, from the run's results."""
    digest: str
    """SHA-256 of weights and drones."""


def load(run: Path, teachers: Sequence[range] | None) -> Teachers:
    """Returns the teachers of a run whose mean return is above `training.pass_return`.

    Args:
        run: output directory of the run.
        teachers: ranges of `teacher_id`; None for all teachers.

    Raises:
        UserError: there is no such run or teacher, the files of the run are inconsistent, or no teacher passed.
    """
    kept = load_kept(run, {})
    if teachers is not None:
        kept = only(kept, run, teachers)
    found = {entry.teacher_id: entry for entry in read(run / layout.RESULTS).teachers}
    pass_return = kept.settings.training.pass_return
    returns = np.array([_mean_return(found.get(number)) for number in kept.ids])
    rows = np.flatnonzero(returns > pass_return)
    if not rows.size:
        raise UserError(
            f"{run}: no teacher has a mean return above training.pass_return {pass_return:g}; train them for longer"
        )
    actors, drones = take((kept.actors, kept.drones), rows)
    return Teachers(
        ids=[kept.ids[row] for row in rows],
        left_out=[number for row, number in enumerate(kept.ids) if row not in rows],
        actors=actors,
        drones=drones,
        drone_names=[kept.drone_files[row].name for row in rows],
        mean_return=returns[rows],
        digest=checkpoints.digest({"actors": actors, "drones": drones}),
    )


def _mean_return(result: TeacherResult | None) -> float:
    """Returns a teacher's mean return in the final evaluation, or before it in the one that selected its actor."""
    if result is None:
        return -np.inf
    value = result.mean_return if result.mean_return is not None else result.best_eval_reward
    return -np.inf if value is None else value
