"""The command `train`: trains a teacher for every drone."""

import argparse
from pathlib import Path

from raptor_jax import config as configs
from raptor_jax.commands import sample
from raptor_jax.commands.devices import join_processes, require_device
from raptor_jax.commands.exit_status import NOT_PASSED, PASSED, STOPPED
from raptor_jax.commands.options import (
    Command,
    add_config_options,
    add_device_option,
    add_dynamics_option,
    load_config,
    positive,
    slice_of,
)
from raptor_jax.errors import UserError
from raptor_jax.runs import layout
from raptor_jax.utils.console import make_console, say


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_dynamics_option(parser).add_argument(
        "--drone",
        nargs="+",
        metavar="NAME|FILE",
        help="train on these drones instead: platforms by name, or JSON or YAML files; teachers are numbered in the"
        " order of the drones' names",
    )
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=Path("experiments/pre_training"),
        help="where the run goes (default: %(default)s)",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--num-teachers", type=positive, help="train the first N drones (default: all)")
    which.add_argument(
        "--teachers",
        type=slice_of,
        metavar="FIRST:END",
        help="train a slice of the drones, 250:500 those from number 250 up to 499, as they would be trained among all",
    )
    parser.add_argument(
        "--generate-dynamics",
        action="store_true",
        help="write the drones into --dynamics-dir, check their distribution, and stop; as the command sample",
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on with the run that is in --output-dir")
    again.add_argument("--overwrite", action="store_true", help="move a run that is in --output-dir aside")
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="this is one of several processes of one run, which JAX finds by itself under SLURM, Open MPI or"
        " Kubernetes; elsewhere by JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID",
    )
    add_device_option(parser)
    add_config_options(parser, tuple(configs.sections()))


def _run(options: argparse.Namespace) -> int:
    config = load_config(options)
    if options.generate_dynamics:
        if options.drone:
            raise UserError("--generate-dynamics: writes into --dynamics-dir; leave --drone out")
        options.num_drones = options.num_teachers
        return sample.COMMAND.run(options)
    from raptor_jax.drones import files

    first, last = options.teachers or (0, options.num_teachers)
    if options.drone:
        drones = files.load_named(options.drone, last)[first:]
    else:
        drones = files.load_directory(options.dynamics_dir, last)[first:]
    if options.distributed:
        join_processes()
    require_device(options.device)
    import numpy as np

    from raptor_jax.training import loop

    console = make_console()
    ids = np.arange(first, first + len(drones))
    job = loop.Job(config, drones, ids, options.output_dir)
    ending = loop.train(job, console, overwrite=options.overwrite, resume=options.resume)
    if ending is loop.Ending.STOPPED:
        return STOPPED
    say(console, f"results: {options.output_dir / layout.RESULTS}")
    say(console, f"curves:  tensorboard --logdir {options.output_dir / layout.LOGS}")
    return PASSED if ending is loop.Ending.PASSED else NOT_PASSED


COMMAND = Command(
    "train",
    "train a teacher for every drone",
    "[options] [--SECTION.KEY VALUE ...]",
    _add_options,
    _run,
)
