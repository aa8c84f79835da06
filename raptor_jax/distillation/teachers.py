"""The teachers of a run that passed, from whom the student learns."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.runs import checkpoints, layout
from raptor_jax.runs.kept import load_kept
from raptor_jax.runs.results import TeacherResult, read
from raptor_jax.utils.trees import take


class Teachers(NamedTuple):
    """T teachers."""

    settings: Config
    """Of their training."""
    ids: list[int]
    left_out: list[int]
    """Identities of those that did not pass."""
    actors: sac.Parameters
    """Weights, each [T, ...]."""
    drones: Drone
    """Every array [T, ...], with the task of the run."""
    drone_names: list[str]
    mean_return: np.ndarray
    """[T] of each teacher on its drone, as the run found it."""
    digest: str
    """SHA-256 of weights and drones."""


def load(run: Path) -> Teachers:
    """Returns the teachers of a run whose mean return is above its bar.

    Raises:
        UserError: the directory holds no run, its files do not fit together, or no teacher passed.
    """
    kept = load_kept(run, {})
    found = {entry.teacher_id: entry for entry in read(run / layout.RESULTS).teachers}
    bar = kept.settings.training.pass_return
    returns = np.array([_mean_return(found.get(number)) for number in kept.ids])
    rows = np.flatnonzero(returns > bar)
    if not rows.size:
        raise UserError(
            f"{run}: no teacher's mean return is above {bar:g} (training.pass_return); train them for longer"
        )
    actors, drones = take((kept.actors, kept.drones), rows)
    return Teachers(
        settings=kept.settings,
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
