"""The command `evaluate`: flies the kept actors of a run again."""

import argparse
from pathlib import Path

from raptor_jax.commands.devices import require_device
from raptor_jax.commands.exit_status import NOT_PASSED, PASSED
from raptor_jax.commands.options import Command, add_device_option, positive, seed, teachers
from raptor_jax.errors import UserError
from raptor_jax.utils.console import make_console


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="output directory of a run")
    parser.add_argument(
        "--teachers", type=teachers, metavar="N,FIRST:END,...", help="who flies, by number (default: all teachers)"
    )
    parser.add_argument(
        "--episodes", type=positive, help="episodes of each teacher (default: as many as judged the run)"
    )
    parser.add_argument(
        "--simulator",
        choices=("jax", "l2f"),
        default="jax",
        help="where they fly: here, or in the original simulator, compared with here (needs raptor-jax[l2f];"
        " default: %(default)s)",
    )
    parser.add_argument(
        "--matrix",
        type=Path,
        metavar="PNG",
        help="fly every teacher on every drone instead, and draw what each reached",
    )
    parser.add_argument(
        "--drones", type=Path, metavar="DIR", help="the drones of --matrix (default: those of the teachers)"
    )
    parser.add_argument(
        "--policy",
        choices=("kept", "foundation"),
        default="kept",
        help="who flies: the kept actors, or RAPTOR's published foundation policy, compared with them"
        " (needs raptor-jax[foundation]; default: %(default)s)",
    )
    parser.add_argument("--seed", type=seed, help="seed of the episodes (default: the one that judged the run)")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    add_device_option(parser)


def _run(options: argparse.Namespace) -> int:
    require_device(options.device)
    from raptor_jax.runs.kept import Flights

    asked = Flights(options.run, options.teachers, options.episodes, options.seed)
    if options.matrix is None:
        if options.drones is not None:
            raise UserError(
                f"--drones {options.drones}: is for --matrix PNG; elsewhere each teacher flies its own drone"
            )
        from raptor_jax.commands.evaluate_own import evaluate_run

        passed = evaluate_run(asked, options.policy, options.simulator, options.json, make_console())
        return PASSED if passed else NOT_PASSED
    if (options.policy, options.simulator) != ("kept", "jax"):
        raise UserError("--matrix: flies the kept actors in our simulator only; leave --policy and --simulator out")
    from raptor_jax.commands.evaluate_matrix import fly_matrix

    fly_matrix(asked, options.drones, options.matrix, options.json, make_console())
    return PASSED


COMMAND = Command(
    "evaluate",
    "fly the kept actors of a run again",
    "[options] RUN",
    _add_options,
    _run,
)
