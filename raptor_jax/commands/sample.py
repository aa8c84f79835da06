"""The command `sample`: samples drones and checks their distribution."""

import argparse

from raptor_jax.commands.exit_status import PASSED
from raptor_jax.commands.options import Command, add_config_options, add_dynamics_option, load_config, positive
from raptor_jax.utils.console import make_console, say


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_dynamics_option(parser)
    parser.add_argument("--num-drones", type=positive, help="number of drones to write (default: sampling.num_drones)")
    add_config_options(parser, ("sampling",))


def _run(options: argparse.Namespace) -> int:
    from raptor_jax.drones import distribution, sampling

    config = load_config(options).sampling
    console = make_console()
    num = options.num_drones or config.num_drones
    written = sampling.write_drones(options.dynamics_dir, config, num)
    say(console, f"{'wrote' if written else 'already there, identical:'} {num} drones in {options.dynamics_dir}")
    distribution.report(options.dynamics_dir, config, console)
    return PASSED


COMMAND = Command(
    "sample",
    "sample drones and check their distribution",
    "[options] [--sampling.KEY VALUE ...]",
    _add_options,
    _run,
)
