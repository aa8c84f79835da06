"""The command `distill`: distils the teachers of a run into one student."""

import argparse
from pathlib import Path

from raptor_jax.commands.devices import require_device, use_cores
from raptor_jax.commands.exit_status import PASSED, STOPPED
from raptor_jax.commands.options import Command, add_config_options, add_device_option, load_config, teachers
from raptor_jax.runs import layout
from raptor_jax.utils.console import make_console, say

_CONFIG = "configs/distill.yaml"


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="output directory of the teachers' run")
    parser.add_argument(
        "--config", default=_CONFIG, help="YAML file with settings of the section distillation (default: %(default)s)"
    )
    parser.add_argument(
        "--output-dir",
        "--output",
        type=Path,
        default=Path("experiments/student"),
        help="output directory of the student (default: %(default)s)",
    )
    parser.add_argument(
        "--teachers", type=teachers, metavar="N,FIRST:END,...", help="teachers to learn from, by number (default: all)"
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="resume the distillation in --output-dir")
    again.add_argument(
        "--overwrite", action="store_true", help="rename a student that is already in --output-dir, and start again"
    )
    add_device_option(parser)
    add_config_options(parser, ["distillation"])


def _run(options: argparse.Namespace) -> int:
    settings = load_config(options).distillation
    use_cores(settings.batch_episodes)
    require_device(options.device)
    from raptor_jax.distillation import Ending, distill, job_of

    console = make_console()
    job = job_of(options.run, settings, options.output_dir, options.teachers)
    ending = distill(job, console, overwrite=options.overwrite, resume=options.resume)
    if ending is Ending.STOPPED:
        return STOPPED
    say(console, f"student: {options.output_dir / layout.STUDENT}")
    say(console, f"results: {options.output_dir / layout.STUDENT_RESULTS}")
    return PASSED


COMMAND = Command(
    "distill",
    "distil the teachers of a run into one recurrent policy for all their drones",
    "[options] [--distillation.KEY VALUE ...] RUN",
    _add_options,
    _run,
)
