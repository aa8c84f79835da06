"""The command `evaluate`: flies the kept actors of a run again."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from raptor_jax.commands.devices import require_device
from raptor_jax.commands.exit_status import NOT_PASSED, PASSED
from raptor_jax.commands.options import Command, add_device_option, positive, seed, teachers
from raptor_jax.errors import UserError
from raptor_jax.utils.console import make_console
from raptor_jax.utils.files import require_writable, write_json

if TYPE_CHECKING:
    # These import jax, which must wait until the options are parsed.
    from rich.console import Console

    from raptor_jax.evaluation import Evaluation, Evaluator
    from raptor_jax.runs.kept import Flights


class _Comparison(NamedTuple):
    """The kept actors in our simulator, and what was evaluated instead, in the same episodes of the same drones."""

    teacher_ids: list[int]
    episodes: int
    kept: "Evaluation"
    found: "Evaluation"


class _Contestant(NamedTuple):
    """What flies instead of the kept actors in our simulator, and how the two are compared."""

    evaluate: "Evaluator"
    compare: Callable[[_Comparison, "Console"], dict[str, object]]
    """Prints the comparison, and returns what it adds to the `run` object of the JSON file."""


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="output directory of a run")
    parser.add_argument(
        "--teachers", type=teachers, metavar="N,FIRST:END,...", help="teachers to evaluate, by number (default: all)"
    )
    parser.add_argument(
        "--episodes", type=positive, help="episodes of each teacher (default: as in the final evaluation of the run)"
    )
    parser.add_argument(
        "--simulator",
        choices=("jax", "l2f"),
        default="jax",
        help="simulator: ours, or the original, which is compared with ours (needs raptor-jax[l2f]; default:"
        " %(default)s)",
    )
    parser.add_argument(
        "--matrix",
        type=Path,
        metavar="PNG",
        help="evaluate every teacher on every drone instead, and draw the mean returns",
    )
    parser.add_argument(
        "--drones", type=Path, metavar="DIR", help="drones of --matrix (default: those of the teachers)"
    )
    parser.add_argument(
        "--policy",
        choices=("kept", "foundation"),
        default="kept",
        help="policy: the kept actors, or RAPTOR's published foundation policy, which is compared with them"
        " (needs raptor-jax[foundation]; default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=seed, help="seed of the episodes (default: as in the final evaluation of the run)"
    )
    parser.add_argument("--json", type=Path, help="file to which the numbers are also written")
    add_device_option(parser)


def _run(options: argparse.Namespace) -> int:
    require_device(options.device)
    from raptor_jax.runs.kept import Flights

    requested = Flights(options.run, options.teachers, options.episodes, options.seed)
    if options.matrix is None:
        if options.drones is not None:
            raise UserError(f"--drones {options.drones}: is for --matrix PNG only; leave it out, or add --matrix")
        return PASSED if _evaluate(requested, options) else NOT_PASSED
    if (options.policy, options.simulator) != ("kept", "jax"):
        raise UserError("--matrix: evaluates the kept actors in our simulator only; leave --policy and --simulator out")
    from raptor_jax.commands.evaluate_matrix import evaluate_matrix

    evaluate_matrix(requested, options.drones, options.matrix, options.json, make_console())
    return PASSED


def _evaluate(requested: "Flights", options: argparse.Namespace) -> bool:
    """Evaluates the newest kept actors of a run on their own drones, or what the options name instead of them.

    Returns:
        Whether every drone passed.

    Raises:
        UserError: the directory holds no run, its files do not fit together, or a package is missing.
    """
    from raptor_jax import evaluation
    from raptor_jax.runs import layout
    from raptor_jax.runs.kept import load_flights
    from raptor_jax.runs.results_table import print_table

    require_writable("--json", options.json)
    contestant = _contestant(options.policy, options.simulator)
    run, episodes = load_flights(requested)
    console = make_console()
    flown = (run.settings, run.actors, run.drones, episodes, evaluation.JUDGEMENT)
    kept = evaluation.evaluate(*flown)
    found = kept if contestant is None else contestant.evaluate(*flown)
    results, pass_return = run.results, run.settings.training.pass_return
    results.run.update(policy=options.policy, simulator=options.simulator, episodes=episodes)
    results.set_final_evaluation(found, pass_return, layout.best_arrays(run.step))
    print_table(results.teachers, pass_return, console)
    if contestant is not None:
        results.run.update(contestant.compare(_Comparison(run.ids, episodes, kept, found), console))
    if options.json is not None:
        write_json(options.json, results.content())
    return results.all_passed


def _contestant(policy: str, simulator: str) -> _Contestant | None:
    """Returns what the options name; None for the kept actors in our simulator. Raises UserError."""
    if (policy, simulator) == ("kept", "jax"):
        return None
    if (policy, simulator) == ("foundation", "jax"):
        from raptor_jax.evaluation import foundation

        return _Contestant(foundation.make_evaluator(), _compare_policies)
    if policy != "kept":
        raise UserError(f"--simulator l2f: evaluates the kept actors only; leave --policy {policy} out")
    try:
        from raptor_jax.evaluation import l2f_flights
    except ImportError:
        raise UserError("--simulator l2f: install raptor-jax[l2f] for it (it compiles for some minutes)") from None
    return _Contestant(l2f_flights.evaluate, _compare_simulators)


def _compare_policies(both: _Comparison, console: "Console") -> dict[str, object]:
    """Compares the mean returns [T] of the teachers and of the foundation policy."""
    import numpy as np

    kept, foundation = np.asarray(both.kept.mean_return), np.asarray(both.found.mean_return)
    console.print(
        f"teachers are ahead of the foundation policy on {np.sum(kept > foundation)} of {len(kept)} drones;"
        f" median {np.median(kept):.0f} against {np.median(foundation):.0f},"
        f" worst {kept.min():.0f} against {foundation.min():.0f}"
    )
    return {}


def _compare_simulators(both: _Comparison, console: "Console") -> dict[str, object]:
    """Compares the mean returns [T] in the original simulator and in ours."""
    import numpy as np

    ids, ours = both.teacher_ids, np.asarray(both.kept.mean_return)
    difference = np.abs(np.asarray(both.found.mean_return) - ours)
    standard_error = np.asarray(both.kept.std_return) / np.sqrt(both.episodes)
    worst = int(np.argmax(difference))
    within = int(np.sum(difference <= np.maximum(standard_error, 1e-6 * np.abs(ours))))
    console.print(
        f"l2f against our simulator in the same {both.episodes} episodes of each teacher: the mean returns differ by at"
        f" most {difference[worst]:.2g} (teacher {ids[worst]}); {within} of {len(ids)} lie within one standard error of"
        f" such a mean, {standard_error.min():.2g} to {standard_error.max():.2g}",
        soft_wrap=True,
    )
    comparison = {
        "largest_difference": float(difference[worst]),
        "of_teacher": ids[worst],
        "within_one_standard_error": within,
        "least_standard_error": float(standard_error.min()),
        "largest_standard_error": float(standard_error.max()),
    }
    return {"against_jax": comparison}


COMMAND = Command(
    "evaluate",
    "fly the kept actors of a run again",
    "[options] RUN",
    _add_options,
    _run,
)
