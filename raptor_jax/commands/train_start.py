"""The command `train-start`: trains one actor on many drones, as a warm start for teachers."""

import argparse
from pathlib import Path

from raptor_jax.commands.devices import require_device
from raptor_jax.commands.exit_status import PASSED
from raptor_jax.commands.options import Command, add_config_options, add_device_option, add_dynamics_option, load_config
from raptor_jax.utils.console import make_console, say


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_dynamics_option(parser, "configs/start.yaml")
    parser.add_argument("--output", type=Path, default=Path("start.npz"), help="file to write (default: %(default)s)")
    add_device_option(parser)
    add_config_options(parser, ("environment", "sac", "training"))


def _run(options: argparse.Namespace) -> int:
    config = load_config(options)
    from raptor_jax.drones import files

    drones = files.load_directory(options.dynamics_dir)
    require_device(options.device)
    from raptor_jax.training import warm_start

    console = make_console()
    warm_start.train_start(config, drones, options.output, console)
    say(console, f"wrote {options.output}; train from it with --training.start {options.output}")
    return PASSED


COMMAND = Command(
    "train-start",
    "train one actor on many drones, as a warm start for teachers",
    "[options] [--SECTION.KEY VALUE ...]",
    _add_options,
    _run,
)
