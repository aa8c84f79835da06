"""Evaluates every actor on every drone, including those on which it was not trained."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.drones.files import DroneFile
from raptor_jax.drones.parameters import Drone, same
from raptor_jax.evaluation import flights


class Matrix(NamedTuple):
    """Results of T teachers on D drones."""

    teacher_ids: list[int]
    drones: list[DroneFile]
    own: list[int | None]
    """[T] column of the drone that each teacher was trained on; None if it is not among the D."""
    mean_return: np.ndarray
    """[T, D]."""
    std_return: np.ndarray
    """[T, D]."""
    share_terminated: np.ndarray
    """[T, D]."""


def column_of(own: DroneFile, drones: Sequence[DroneFile]) -> int | None:
    """Returns the column of the drone with the same dynamics as a teacher's own; None if there is none."""
    return next((column for column, file in enumerate(drones) if same(own.drone.dynamics, file.drone.dynamics)), None)


def evaluate_all(
    config: Config, actors: sac.Parameters, drones: Drone, episodes: int, console: Console
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Evaluates T actors on D drones, one drone after the other.

    Args:
        config: settings; the seeds follow from `training.seed`.
        actors: weights, each [T, ...].
        drones: every array [D, ...].
        episodes: of each actor on each drone, with the same initial draws on all of them.
        console: where the progress is shown.

    Returns:
        Mean and standard deviation of the returns, and the fraction of terminated episodes, each [T, D].
    """
    teachers = jax.tree.leaves(actors)[0].shape[0]
    columns = []
    for column in track(range(drones.dynamics.mass.shape[0]), "flying", console=console, transient=True):
        repeated = jax.tree.map(
            lambda leaf, column=column: jnp.broadcast_to(leaf[column], (teachers, *leaf.shape[1:])), drones
        )
        found = flights.evaluate(config, actors, repeated, episodes, flights.FINAL)
        columns.append(jax.device_get((found.mean_return, found.std_return, found.share_terminated)))
    mean_return, std_return, share_terminated = np.stack(columns, axis=-1)
    return mean_return, std_return, share_terminated
