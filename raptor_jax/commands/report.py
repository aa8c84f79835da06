"""The command `report`: a run as one HTML file."""

import argparse
from pathlib import Path

from raptor_jax.commands.devices import require_device
from raptor_jax.commands.exit_status import PASSED
from raptor_jax.commands.options import Command, add_device_option
from raptor_jax.utils.console import make_console, say


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="output directory of a run")
    parser.add_argument(
        "--student", type=Path, metavar="STUDENT", help="directory of a student of these teachers, to show next to them"
    )
    parser.add_argument("--output", type=Path, help="file to write (default: RUN/report.html)")
    add_device_option(parser)


def _run(options: argparse.Namespace) -> int:
    require_device(options.device)
    from raptor_jax import report
    from raptor_jax.runs import layout

    path = options.output or options.run / layout.REPORT
    size = report.write(options.run, path, options.student)
    say(make_console(), f"wrote {path} ({size / 1e6:.1f} MB); it opens in a browser, offline")
    return PASSED


COMMAND = Command(
    "report",
    "write the results and flights of a run as one HTML file",
    "[options] RUN",
    _add_options,
    _run,
)
