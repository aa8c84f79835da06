"""The command `inspect`: prints and verifies a run, a checkpoint, a policy or any other file of raptor_jax."""

import argparse
import json
from pathlib import Path

from rich.console import Console

from raptor_jax.commands.exit_status import PASSED
from raptor_jax.commands.options import Command, number_of
from raptor_jax.errors import UserError
from raptor_jax.utils.console import make_console, say


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="output directory of a run, its checkpoints or one checkpoint; a drone's file, the name of a platform, a"
        " warm start, a student, a file that export wrote, or the curves of a run",
    )
    parser.add_argument(
        "--teacher", type=number_of(0), metavar="N", help="show the drone, the result and the curve of one teacher"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--repair",
        type=Path,
        metavar="OUT.json",
        help="write a copy of a drone's file with its derived fields (J_inv, hovering_throttle_relative) recomputed,"
        " and print what was changed",
    )


def _run(options: argparse.Namespace) -> int:
    console = make_console()
    if options.repair is None:
        inspect(options.path, options.teacher, options.json, console)
    elif options.json or options.teacher is not None:
        raise UserError("--repair: cannot be combined with --json or --teacher; leave them out")
    else:
        repair(options.path, options.repair, console)
    return PASSED


def repair(path: Path, output: Path, console: Console) -> None:
    """Writes a drone's file with its derived fields recomputed, and prints a line for each change.

    Raises:
        UserError: `path` is not a drone, a field that is not derived is invalid, or the file cannot be written.
    """
    from raptor_jax.drones.repair import write_repaired

    for change in write_repaired(path, output) or ["nothing to change"]:
        say(console, change)
    say(console, f"wrote {output}")


def inspect(path: Path, teacher: int | None, as_json: bool, console: Console) -> None:
    """Prints the content of `path`, or of one teacher of its run, as text or as JSON.

    Raises:
        UserError: `path` is not a file or directory of raptor_jax; or, after printing everything, a checkpoint is
            damaged.
    """
    from raptor_jax.inspection import content, text

    found = content.describe(path) if teacher is None else content.describe_teacher(path, teacher)
    if as_json:
        try:
            print(json.dumps(found, indent=2, allow_nan=False))
        except ValueError:
            raise UserError(f"{path}: contains NaN or infinity, which JSON cannot hold; leave --json out") from None
    else:
        text.show(found, console)
    if problem := next((one["problem"] for one in found.get("checkpoints", ()) if one["problem"]), None):
        raise UserError(problem)


COMMAND = Command(
    "inspect",
    "show the contents of a run, a checkpoint, a policy or a drone's file",
    "[options] PATH",
    _add_options,
    _run,
)
