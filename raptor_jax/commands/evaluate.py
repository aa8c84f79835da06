"""The command `evaluate`: evaluates the kept actors of a run, or a student."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from raptor_jax.commands.devices import require_device
from raptor_jax.commands.exit_status import NOT_PASSED, PASSED
from raptor_jax.commands.options import Command, add_device_option, positive, seed, teachers
from raptor_jax.commands.policies import FOUNDATION, KEPT, actors_evaluator, load_policy, policy_evaluator
from raptor_jax.errors import UserError
from raptor_jax.utils.console import make_console, say
from raptor_jax.utils.files import require_writable, write_json, write_requested

if TYPE_CHECKING:
    # These import jax, which must wait until the options are parsed.
    from rich.console import Console

    from raptor_jax.evaluation import Evaluation
    from raptor_jax.runs.kept import Flights


class _Comparison(NamedTuple):
    """Two evaluations in the same episodes of the same drones, which differ in the policy or in the simulator."""

    teacher_ids: list[int]
    episodes: int
    kept: "Evaluation"
    """Results of the kept actors; in raptor_jax's simulator if simulators are compared."""
    found: "Evaluation"


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="output directory of a run, or a student")
    parser.add_argument(
        "--teachers", type=teachers, metavar="N,FIRST:END,...", help="teachers to evaluate, by number (default: all)"
    )
    parser.add_argument(
        "--episodes", type=positive, help="episodes per teacher (default: as in the final evaluation of the run)"
    )
    parser.add_argument(
        "--simulator",
        choices=("jax", "l2f"),
        default="jax",
        help="simulator: raptor_jax's, or the original, whose results are compared with raptor_jax's (needs"
        " raptor-jax[l2f]; default: %(default)s)",
    )
    parser.add_argument(
        "--matrix",
        type=Path,
        metavar="PNG",
        help="evaluate every teacher on every drone instead, and plot the mean returns",
    )
    parser.add_argument(
        "--drones",
        type=Path,
        metavar="DIR",
        help="directory of drones, for a student or --matrix (default: the drones of the teachers)",
    )
    parser.add_argument(
        "--policy",
        default=KEPT,
        metavar="kept|foundation|STUDENT",
        help="policy: kept (the kept actors or the student), or one to compare them with: foundation (RAPTOR's"
        " published policy, needs raptor-jax[foundation]) or the path of a student (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=seed, help="seed of the episodes (default: as in the final evaluation of the run)"
    )
    parser.add_argument("--json", type=Path, help="file to which the numbers are also written")
    add_device_option(parser)
    _add_student_options(parser.add_argument_group("students", "Only if RUN is a student."))


def _add_student_options(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--task",
        choices=("file", "default", "raptor"),
        help="task: that of each drone's file, or a built-in one (default: as for the teachers)",
    )
    group.add_argument(
        "--l2f-initial-angle",
        action="store_true",
        default=None,
        help="draw the initial angles from U(0, 1) rad, as l2f does, instead of the task's range",
    )
    group.add_argument("--plot", type=Path, metavar="PNG", help="plot the mean return on each drone")


def _run(options: argparse.Namespace) -> int:
    require_device(options.device)
    from raptor_jax.runs import student_file
    from raptor_jax.runs.kept import Flights

    if student_file.names_student(options.run):
        from raptor_jax.commands.evaluate_student import evaluate_student

        return PASSED if evaluate_student(options, make_console()) else NOT_PASSED
    for option in ("task", "plot", "l2f_initial_angle"):
        if getattr(options, option) is not None:
            raise UserError(f"--{option.replace('_', '-')}: {options.run} is not a student; leave the option out")
    requested = Flights(options.run, options.teachers, options.episodes, options.seed)
    if options.matrix is None:
        if options.drones is not None:
            raise UserError(f"--drones {options.drones}: needs --matrix PNG or a student; add --matrix or leave it out")
        return PASSED if _evaluate(requested, options) else NOT_PASSED
    if (options.policy, options.simulator) != (KEPT, "jax"):
        raise UserError("--matrix: evaluates only the kept actors, in jax; leave --policy and --simulator out")
    from raptor_jax.commands.evaluate_matrix import evaluate_matrix

    evaluate_matrix(requested, options.drones, options.matrix, options.json, make_console())
    return PASSED


def _evaluate(requested: "Flights", options: argparse.Namespace) -> bool:
    """Evaluates the newest kept actors of a run, or the policy that the options name, on the drones of the run.

    Returns:
        Whether every drone passed.

    Raises:
        UserError: the directory contains no run, its files are inconsistent, a package is missing, or a file cannot be
            written.
    """
    from raptor_jax import evaluation
    from raptor_jax.runs import layout
    from raptor_jax.runs.kept import load_flights
    from raptor_jax.runs.results_table import print_table

    require_writable("--json", options.json)
    policy = None if options.policy == KEPT else load_policy(options.policy)
    run, episodes = load_flights(requested)
    console = make_console()
    flown = (run.drones, episodes, evaluation.FINAL)
    # Simulators are compared with the same actors, policies in the same simulator.
    kept = actors_evaluator(options.simulator if policy else "jax")(run.settings, run.actors, *flown)
    if policy:
        found = policy_evaluator(options.simulator)(run.settings, policy, *flown)
    else:
        found = kept if options.simulator == "jax" else actors_evaluator("l2f")(run.settings, run.actors, *flown)
    results, pass_return = run.results, run.settings.training.pass_return
    results.run.update(policy=options.policy, simulator=options.simulator, episodes=episodes)
    results.set_final_evaluation(found, pass_return, layout.best_arrays(run.step))
    print_table(results.teachers, pass_return, console)
    both = _Comparison(run.ids, episodes, kept, found)
    if policy:
        _compare_policies(both, options.policy, console)
    elif options.simulator != "jax":
        results.run["against_jax"] = _compare_simulators(both, console)
    write_requested("--json", options.json, lambda path: write_json(path, results.content()))
    return results.all_passed


def _compare_policies(both: _Comparison, policy: str, console: "Console") -> None:
    """Prints the mean returns [T] of the teachers and of another policy side by side."""
    import numpy as np

    kept, other = np.asarray(both.kept.mean_return), np.asarray(both.found.mean_return)
    name = "the foundation policy" if policy == FOUNDATION else policy
    say(
        console,
        f"teachers score higher than {name} on {np.sum(kept > other)} of {len(kept)} drones;"
        f" median {np.median(kept):.0f} against {np.median(other):.0f},"
        f" worst {kept.min():.0f} against {other.min():.0f}",
    )


def _compare_simulators(both: _Comparison, console: "Console") -> dict[str, object]:
    """Compares the mean returns [T] in the original simulator with those in raptor_jax's."""
    import numpy as np

    ids, ours = both.teacher_ids, np.asarray(both.kept.mean_return)
    difference = np.abs(np.asarray(both.found.mean_return) - ours)
    standard_error = np.asarray(both.kept.std_return) / np.sqrt(both.episodes)
    worst = int(np.argmax(difference))
    within = int(np.sum(difference <= np.maximum(standard_error, 1e-6 * np.abs(ours))))
    console.print(
        f"l2f and raptor_jax in the same {both.episodes} episodes of each teacher: the mean returns differ by at most"
        f" {difference[worst]:.2g} (teacher {ids[worst]}), for {within} of {len(ids)} teachers by at most one standard"
        f" error of the mean, which is {standard_error.min():.2g} to {standard_error.max():.2g}",
        soft_wrap=True,
    )
    return {
        "largest_difference": float(difference[worst]),
        "of_teacher": ids[worst],
        "within_one_standard_error": within,
        "least_standard_error": float(standard_error.min()),
        "largest_standard_error": float(standard_error.max()),
    }


COMMAND = Command(
    "evaluate",
    "evaluate the kept actors of a run, or a student",
    "[options] RUN",
    _add_options,
    _run,
)
