"""The command `rollout`: flies teachers of a run and records every step."""

import argparse

from raptor_jax.commands.devices import require_device
from raptor_jax.commands.exit_status import PASSED
from raptor_jax.commands.options import Command, add_device_option, add_teacher_options, positive, seed
from raptor_jax.utils.console import make_console


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_teacher_options(parser, "RUN/rollouts")
    parser.add_argument(
        "--episodes", type=positive, help="episodes per teacher (default: as in the final evaluation of the run)"
    )
    parser.add_argument(
        "--seed", type=seed, help="seed of the episodes (default: as in the final evaluation of the run)"
    )
    add_device_option(parser)


def _run(options: argparse.Namespace) -> int:
    require_device(options.device)
    from raptor_jax.export import dataset

    dataset.roll_out(options.run, options.teacher, options.episodes, options.seed, options.output, make_console())
    return PASSED


COMMAND = Command(
    "rollout",
    "fly teachers of a run and record every step",
    "[options] RUN",
    _add_options,
    _run,
)
