"""Flies the kept actors of a run again: the command `evaluate`."""

import os
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from raptor_jax import checkpoints, config, evaluation, memory, sac
from raptor_jax.dynamics import files
from raptor_jax.dynamics.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.foundation import FoundationPolicy
from raptor_jax.results import Results, print_table
from raptor_jax.storage import write_json


class Judged(NamedTuple):
    """A run as it is read to be flown again: T teachers and their drones, with the task of the run."""

    settings: config.Config
    step: int
    actors: sac.Parameters
    drones: Drone
    drone_files: list[files.DroneFile]
    """The drones as they lie beside the checkpoint."""
    results: Results


def evaluate_run(
    run: Path, policy: str, episodes: int | None, seed: int | None, json_path: Path | None, console: Console
) -> bool:
    """Flies the newest kept actors of a run on their own drones again, and prints a table.

    Args:
        run: output directory of a run.
        policy: "kept", or "foundation": the published foundation policy flies the same episodes, and is compared.
        episodes: episodes of each teacher; None for as many as judged the run.
        seed: seed of the episodes; None for the run's own. With both None this repeats its final judgement.
        json_path: also write the numbers here.
        console: where the table goes.

    Returns:
        Whether the policy passed on every drone.

    Raises:
        UserError: the directory holds no run, or what it holds does not fit together.
    """
    if json_path is not None and (os.path.isdir(json_path) or not os.path.isdir(json_path.absolute().parent)):
        raise UserError(f"--json: {json_path}: cannot be written; name a file in a directory that exists")
    outsider = FoundationPolicy() if policy == "foundation" else None
    judged = load_kept(run, {} if seed is None else {"training.seed": seed})
    settings, results = judged.settings, judged.results
    episodes = episodes or settings.training.final_eval_episodes
    needed, free = memory.evaluation_bytes(settings, judged.drones, episodes), memory.available_bytes(jax.devices()[0])
    if needed > free:
        raise UserError(
            f"{episodes} episodes need {memory.readable_bytes(needed)}, and {memory.readable_bytes(free)} are free;"
            " lower --episodes"
        )
    flown = (judged.drones, episodes, evaluation.JUDGEMENT)
    found = kept = evaluation.evaluate(settings, judged.actors, *flown)
    if outsider is not None:
        found = evaluation.evaluate_policy(settings, outsider, *flown)
    results.run["policy"] = policy
    results.set_judgement(found, settings.training.pass_return, checkpoints.best_path(judged.step))
    print_table(results.teachers, settings.training.pass_return, console)
    if outsider is not None:
        _compare(np.asarray(kept.mean_return), np.asarray(found.mean_return), console)
    if json_path is not None:
        write_json(json_path, results.content())
    return results.all_passed


def load_kept(run: Path, overrides: dict[str, int]) -> Judged:
    """Reads the settings (with overrides by dotted key), the drones and the newest kept actors of a run.

    Raises:
        UserError: the directory holds no run, or what it holds does not fit together.
    """
    directory = run / checkpoints.DIRECTORY
    if not os.path.isdir(directory):
        raise UserError(f"{run}: holds no {checkpoints.DIRECTORY}; name the output directory of a run")
    settings = config.load(directory / "config.yaml", overrides)
    drone_files = files.load_directory(directory / "dynamics")
    step, tree = checkpoints.load_best(run)
    actors = jax.tree.map(jnp.asarray, checkpoints.actor_of(tree))
    _require_fit(directory, settings, actors, len(drone_files))
    drones = jax.tree.map(jnp.asarray, files.stack_for_training(drone_files, settings.environment))
    results = Results({"run": str(run)}, [int(i) for i in tree["teacher_id"]], drone_files)
    results.run["step"] = step
    results.set_kept(tree["mean_return"], tree["step"])
    return Judged(settings, step, actors, drones, drone_files, results)


def _compare(teachers: np.ndarray, foundation: np.ndarray, console: Console) -> None:
    """Prints how the teachers' mean returns [T] compare with the foundation policy's on the same episodes."""
    ahead = int(np.sum(teachers > foundation))
    console.print(
        f"teachers are ahead of the foundation policy on {ahead} of {len(teachers)} drones;"
        f" median {np.median(teachers):.0f} against {np.median(foundation):.0f},"
        f" worst {teachers.min():.0f} against {foundation.min():.0f}"
    )


def _require_fit(directory: Path, settings: config.Config, actors: sac.Parameters, drones: int) -> None:
    """Raises UserError if the actors are not those of these settings, one for each drone."""
    one = jax.eval_shape(lambda: sac.create(settings.sac, jax.random.key(0)).actor)
    expected = jax.tree.map(lambda leaf: (drones, *leaf.shape), one)
    found = jax.tree.map(lambda leaf: leaf.shape, actors)
    if found != expected:
        raise UserError(
            f"{directory}: the checkpoint's actors do not fit config.yaml and the {drones} drones beside it;"
            " restore the files of the run"
        )
