"""Actors on drones that they were not trained on, every one on every one."""

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
    """What T teachers reach on D drones."""

    teacher_ids: list[int]
    drones: list[DroneFile]
    own: list[int | None]
    """[T] the column of each teacher's own drone, None if it is not among them."""
    mean_return: np.ndarray
    """[T, D]."""
    std_return: np.ndarray
    """[T, D]."""
    share_terminated: np.ndarray
    """[T, D]."""


def column_of(own: DroneFile, drones: Sequence[DroneFile]) -> int | None:
    """Returns the column of the drone with the physics of a teacher's own."""
    return next((column for column, file in enumerate(drones) if same(own.drone.dynamics, file.drone.dynamics)), None)


def fly_all(
    settings: Config, actors: sac.Parameters, drones: Drone, episodes: int, console: Console
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns mean and standard deviation of the returns and the share of crashes, each [T, D]."""
    teachers = jax.tree.leaves(actors)[0].shape[0]
    columns = []
    for column in track(range(drones.dynamics.mass.shape[0]), "flying", console=console, transient=True):
        everywhere = jax.tree.map(
            lambda leaf, column=column: jnp.broadcast_to(leaf[column], (teachers, *leaf.shape[1:])), drones
        )
        found = flights.evaluate(settings, actors, everywhere, episodes, flights.JUDGEMENT)
        columns.append(jax.device_get((found.mean_return, found.std_return, found.share_terminated)))
    means, deviations, crashes = np.stack(columns, axis=-1)
    return means, deviations, crashes
