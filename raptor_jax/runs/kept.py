"""The kept actors of a run with their drones and settings, read to be evaluated or exported."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from raptor_jax import config, sac
from raptor_jax.drones import files
from raptor_jax.drones.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.population import memory
from raptor_jax.runs import checkpoints, layout, stored_config
from raptor_jax.runs.results import EvaluationResults
from raptor_jax.utils.trees import take


class KeptRun(NamedTuple):
    """The T kept actors of a run, with their drones and its settings."""

    settings: config.Config
    step: int
    actors: sac.Parameters
    drones: Drone
    drone_files: list[files.DroneFile]
    """The drones as stored; `drones` contains them with the task of the run."""
    results: EvaluationResults

    @property
    def ids(self) -> list[int]:
        """Returns the identities of the teachers, [T]."""
        return [entry.teacher_id for entry in self.results.teachers]


class Flights(NamedTuple):
    """Which flights of a run were requested."""

    run: Path
    """Output directory of the run."""
    teachers: Sequence[range] | None = None
    """Ranges of `teacher_id`; None for all teachers."""
    episodes: int | None = None
    """Number per teacher; None for that of the final evaluation of the run."""
    seed: int | None = None
    """Seed of the episodes; None for that of the run. With both None, they are those of its final evaluation."""


def load_flights(asked: Flights) -> tuple[KeptRun, int]:
    """Reads the requested actors, and returns them with the number of episodes of each.

    Raises:
        UserError: there is no such run or teacher, or there is too little memory for these episodes.
    """
    kept = load_kept(asked.run, {} if asked.seed is None else {"training.seed": asked.seed})
    if asked.teachers is not None:
        kept = only(kept, asked.run, asked.teachers)
    episodes = asked.episodes or kept.settings.training.final_eval_episodes
    memory.require_for_episodes(memory.evaluation_bytes(kept.settings, kept.drones, len(kept.ids), episodes), episodes)
    return kept, episodes


def load_kept(run: Path, overrides: dict[str, int]) -> KeptRun:
    """Reads the settings (with overrides by dotted key), the drones and the newest kept actors of a run.

    Raises:
        UserError: the directory contains no run, or its files are inconsistent.
    """
    directory = run / layout.CHECKPOINTS
    if not os.path.isdir(directory):
        raise UserError(f"{run}: holds no {layout.CHECKPOINTS}; name the output directory of a run")
    settings = stored_config.load(layout.config_file(run), overrides)
    drone_files = files.load_directory(layout.drones(run))
    step, tree = checkpoints.load_best(run)
    actors = jax.tree.map(jnp.asarray, checkpoints.actor_of(tree))
    _require_fit(directory, settings, actors, len(drone_files))
    drones = jax.tree.map(jnp.asarray, files.stack_for_training(drone_files, settings.environment))
    results = EvaluationResults.begin(run, step, tree["teacher_id"].tolist(), drone_files)
    results.set_kept(tree["mean_return"], tree["step"])
    return KeptRun(settings, step, actors, drones, drone_files, results)


def only(kept: KeptRun, run: Path, teachers: Sequence[range]) -> KeptRun:
    """Returns only the teachers with these identities. Raises UserError if `run` has no such teacher."""
    missing = next((i for span in teachers for i in span if i not in kept.ids), None)
    if missing is not None:
        known = f"{min(kept.ids)} to {max(kept.ids)}"
        raise UserError(f"--teachers: {run} has no teacher {missing}, but {known}; name some of them")
    rows = [row for row, i in enumerate(kept.ids) if any(i in span for span in teachers)]
    actors, drones = take((kept.actors, kept.drones), np.array(rows, int))
    kept.results.teachers = [kept.results.teachers[row] for row in rows]
    return kept._replace(actors=actors, drones=drones, drone_files=[kept.drone_files[row] for row in rows])


def _require_fit(directory: Path, settings: config.Config, actors: sac.Parameters, drones: int) -> None:
    """Raises UserError unless the actors fit the settings, one for each drone."""
    one = jax.eval_shape(lambda: sac.create(settings.sac, jax.random.key(0)).actor)
    expected = jax.tree.map(lambda leaf: (drones, *leaf.shape), one)
    found = jax.tree.map(lambda leaf: leaf.shape, actors)
    if found != expected:
        raise UserError(
            f"{directory}: the checkpoint's actors do not match {layout.CONFIG} and its {drones} drones;"
            " restore the files of the run"
        )
