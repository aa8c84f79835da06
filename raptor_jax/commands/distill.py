"""The command `distill`: distils the teachers of a run into one student."""

import argparse
from pathlib import Path

from raptor_jax.commands.devices import require_device, use_cores
from raptor_jax.commands.exit_status import PASSED, STOPPED
from raptor_jax.commands.options import Command, add_config_options, add_device_option, load_config, teachers
from raptor_jax.config import Config
from raptor_jax.errors import UserError
from raptor_jax.runs import layout, stored_config
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
    config = _config(options)
    use_cores(config.distillation.batch_episodes)
    require_device(options.device)
    from raptor_jax.distillation import Ending, Job, distill

    console = make_console()
    job = Job(options.run, config, options.output_dir, options.teachers)
    ending = distill(job, console, overwrite=options.overwrite, resume=options.resume)
    if ending is Ending.STOPPED:
        return STOPPED
    say(console, f"student: {options.output_dir / layout.STUDENT}")
    say(console, f"results: {options.output_dir / layout.STUDENT_RESULTS}")
    return PASSED


def _config(options: argparse.Namespace) -> Config:
    """Returns the settings of the run, with those of the distillation from --config and the command line."""
    chosen = load_config(options)
    path = layout.config_file(options.run)
    if not path.is_file():
        raise UserError(f"{options.run}: holds no {layout.CHECKPOINTS}; name the output directory of a run")
    return stored_config.load(path).model_copy(update={"distillation": chosen.distillation})


COMMAND = Command(
    "distill",
    "distil the teachers of a run into one recurrent policy for all their drones",
    "[options] [--distillation.KEY VALUE ...] RUN",
    _add_options,
    _run,
)
