"""Flies the kept actors of a run again, each on its own drone: the command `evaluate`."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from raptor_jax import checkpoints, config, evaluation, sac
from raptor_jax.drones import files
from raptor_jax.drones.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.evaluation import Evaluation
from raptor_jax.evaluation.foundation import FoundationPolicy
from raptor_jax.population import memory
from raptor_jax.results import Results, print_table
from raptor_jax.utils.console import readable_bytes
from raptor_jax.utils.files import require_writable, write_json


class Judged(NamedTuple):
    """A run as it is read to be flown again: T teachers and their drones, with the task of the run."""

    settings: config.Config
    step: int
    actors: sac.Parameters
    drones: Drone
    drone_files: list[files.DroneFile]
    """The drones as they lie beside the checkpoint."""
    results: Results

    @property
    def ids(self) -> list[int]:
        """Returns the identities of the teachers, [T]."""
        return [entry["teacher_id"] for entry in self.results.teachers]


class Flights(NamedTuple):
    """Which flights of a run are asked for."""

    run: Path
    """Its output directory."""
    teachers: Sequence[range] | None = None
    """Who flies, by `teacher_id`; None for all."""
    episodes: int | None = None
    """Of each teacher; None for as many as judged the run."""
    seed: int | None = None
    """Of the episodes; None for the run's own. With neither given, these are the episodes that judged the run."""


def evaluate_run(asked: Flights, policy: str, simulator: str, json_path: Path | None, console: Console) -> bool:
    """Flies the newest kept actors of a run on their own drones again, and prints a table.

    Args:
        asked: which flights.
        policy: "kept", or "foundation": the published foundation policy flies the same episodes, and is compared.
        simulator: "jax", or "l2f": the original flies the same episodes, and is compared with ours.
        json_path: also write the numbers here.
        console: where the table goes.

    Returns:
        Whether the policy passed on every drone.

    Raises:
        UserError: the directory holds no run, or what it holds does not fit together.
    """
    require_writable("--json", json_path)
    if policy == "foundation" and simulator == "l2f":
        raise UserError("--simulator l2f: flies the kept actors only; leave --policy foundation out")
    outsider = FoundationPolicy() if policy == "foundation" else None
    judged, episodes = load_flights(asked)
    settings, results = judged.settings, judged.results
    flown = (judged.drones, episodes, evaluation.JUDGEMENT)
    found = kept = evaluation.evaluate(settings, judged.actors, *flown)
    if outsider is not None:
        found = evaluation.evaluate_policy(settings, outsider, *flown)
    if simulator == "l2f":
        found = _evaluate_in_l2f(judged, episodes)
    results.run.update(policy=policy, simulator=simulator, episodes=episodes)
    results.set_judgement(found, settings.training.pass_return, checkpoints.best_path(judged.step))
    print_table(results.teachers, settings.training.pass_return, console)
    if outsider is not None:
        _compare_policies(np.asarray(kept.mean_return), np.asarray(found.mean_return), console)
    if simulator == "l2f":
        results.run["against_jax"] = _compare_simulators(judged.ids, kept, found, episodes, console)
    if json_path is not None:
        write_json(json_path, results.content())
    return results.all_passed


def load_flights(asked: Flights) -> tuple[Judged, int]:
    """Reads what is to be flown, and how many episodes of each teacher.

    Raises:
        UserError: there is no such run or teacher, or the memory does not hold so many episodes.
    """
    judged = load_kept(asked.run, {} if asked.seed is None else {"training.seed": asked.seed})
    if asked.teachers is not None:
        judged = _only(judged, asked)
    episodes = asked.episodes or judged.settings.training.final_eval_episodes
    needed = memory.evaluation_bytes(judged.settings, judged.drones, episodes)
    free = memory.available_bytes(jax.devices()[0])
    if needed > free:
        raise UserError(
            f"{episodes} episodes need {readable_bytes(needed)}, and {readable_bytes(free)} are free; lower --episodes"
        )
    return judged, episodes


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


def _only(judged: Judged, asked: Flights) -> Judged:
    """Returns the teachers that are asked for."""
    asked_for = asked.teachers or ()
    missing = next((i for span in asked_for for i in span if i not in judged.ids), None)
    if missing is not None:
        known = f"{min(judged.ids)} to {max(judged.ids)}"
        raise UserError(f"--teachers: {asked.run} has no teacher {missing}, but {known}; name some of them")
    rows = [row for row, i in enumerate(judged.ids) if any(i in span for span in asked_for)]
    actors, drones = jax.tree.map(lambda leaf: leaf[np.array(rows)], (judged.actors, judged.drones))
    judged.results.teachers = [judged.results.teachers[row] for row in rows]
    return judged._replace(actors=actors, drones=drones, drone_files=[judged.drone_files[row] for row in rows])


def _evaluate_in_l2f(judged: Judged, episodes: int) -> Evaluation:
    try:
        from raptor_jax.evaluation import l2f_flights
    except ImportError:
        raise UserError("--simulator l2f: install raptor-jax[l2f] for it (it compiles for some minutes)") from None
    if episodes > l2f_flights.LARGEST_BATCH:
        raise UserError(
            f"--simulator l2f: holds {l2f_flights.LARGEST_BATCH} episodes at most, not {episodes}; lower --episodes"
        )
    return l2f_flights.evaluate(judged.settings, judged.actors, judged.drones, episodes, evaluation.JUDGEMENT)


def _compare_policies(teachers: np.ndarray, foundation: np.ndarray, console: Console) -> None:
    """Prints how the teachers' mean returns [T] compare with the foundation policy's on the same episodes."""
    ahead = int(np.sum(teachers > foundation))
    console.print(
        f"teachers are ahead of the foundation policy on {ahead} of {len(teachers)} drones;"
        f" median {np.median(teachers):.0f} against {np.median(foundation):.0f},"
        f" worst {teachers.min():.0f} against {foundation.min():.0f}"
    )


def _compare_simulators(
    ids: list[int], ours: Evaluation, original: Evaluation, episodes: int, console: Console
) -> dict[str, float | int]:
    """Prints and returns how far the mean returns in the original simulator are from ours in the same episodes."""
    difference = np.abs(np.asarray(original.mean_return) - np.asarray(ours.mean_return))
    standard_error = np.asarray(ours.std_return) / np.sqrt(episodes)
    worst = int(np.argmax(difference))
    within = int(np.sum(difference <= np.maximum(standard_error, 1e-6 * np.abs(np.asarray(ours.mean_return)))))
    console.print(
        f"l2f against our simulator in the same {episodes} episodes of each teacher: the mean returns differ by at most"
        f" {difference[worst]:.2g} (teacher {ids[worst]}); {within} of {len(ids)} lie within one standard error of such"
        f" a mean, {standard_error.min():.2g} to {standard_error.max():.2g}",
        soft_wrap=True,
    )
    return {
        "largest_difference": float(difference[worst]),
        "of_teacher": ids[worst],
        "within_one_standard_error": within,
        "least_standard_error": float(standard_error.min()),
        "largest_standard_error": float(standard_error.max()),
    }


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
