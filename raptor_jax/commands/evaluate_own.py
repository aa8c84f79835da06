"""Flies the kept actors of a run again, each on its own drone: `evaluate` without --matrix."""

from pathlib import Path

import numpy as np
from rich.console import Console

from raptor_jax import evaluation
from raptor_jax.errors import UserError
from raptor_jax.evaluation import Evaluation
from raptor_jax.evaluation.foundation import FoundationPolicy
from raptor_jax.runs import layout
from raptor_jax.runs.kept import Flights, Judged, load_flights
from raptor_jax.runs.results_table import print_table
from raptor_jax.utils.files import require_writable, write_json


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
    results.set_judgement(found, settings.training.pass_return, layout.best_arrays(judged.step))
    print_table(results.teachers, settings.training.pass_return, console)
    if outsider is not None:
        _compare_policies(np.asarray(kept.mean_return), np.asarray(found.mean_return), console)
    if simulator == "l2f":
        results.run["against_jax"] = _compare_simulators(judged.ids, kept, found, episodes, console)
    if json_path is not None:
        write_json(json_path, results.content())
    return results.all_passed


def _evaluate_in_l2f(judged: Judged, episodes: int) -> Evaluation:
    try:
        from raptor_jax.evaluation import l2f_flights, l2f_simulator
    except ImportError:
        raise UserError("--simulator l2f: install raptor-jax[l2f] for it (it compiles for some minutes)") from None
    if episodes > l2f_simulator.LARGEST_BATCH:
        raise UserError(
            f"--simulator l2f: holds {l2f_simulator.LARGEST_BATCH} episodes at most, not {episodes}; lower --episodes"
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
