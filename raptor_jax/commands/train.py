"""The command `train`: trains a teacher for every drone."""

import argparse
from pathlib import Path

from raptor_jax import config as configs
from raptor_jax.commands import sample
from raptor_jax.commands.devices import join_processes, require_device, use_cores
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
        help="drones to train on instead: names of platforms, or JSON or YAML files; teachers are numbered in the order"
        " of the names of their drones",
    )
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=Path("experiments/pre_training"),
        help="output directory of the run (default: %(default)s)",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--num-teachers", type=positive, help="train teachers for the first N drones (default: all)")
    which.add_argument(
        "--teachers",
        type=slice_of,
        metavar="FIRST:END",
        help="train teachers for a slice of the drones, with the numbers of a run of all drones: 250:500 is 250 to 499",
    )
    parser.add_argument(
        "--generate-dynamics",
        action="store_true",
        help="only write drones into --dynamics-dir and check their distribution, as `sample` does",
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="resume the run in --output-dir")
    again.add_argument(
        "--overwrite", action="store_true", help="rename a run that is already in --output-dir, and start a new one"
    )
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="share a run with other processes; JAX finds them under SLURM, Open MPI or Kubernetes, elsewhere through"
        " JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID",
    )
    add_device_option(parser)
    add_config_options(parser, [name for name in configs.sections() if name != "distillation"])


def _run(options: argparse.Namespace) -> int:
    config = load_config(options)
    if options.generate_dynamics:
        for option in ("drone", "teachers"):
            if getattr(options, option):
                raise UserError(f"--generate-dynamics: writes drones into --dynamics-dir; leave --{option} out")
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
    else:
        use_cores(len(drones))
    require_device(options.device)
    import numpy as np

    from raptor_jax.population.sharding import is_main_process
    from raptor_jax.training import loop

    console = make_console()
    ids = np.arange(first, first + len(drones))
    job = loop.Job(config, drones, ids, options.output_dir)
    ending = loop.train(job, console, overwrite=options.overwrite, resume=options.resume)
    if ending is loop.Ending.STOPPED:
        return STOPPED
    if is_main_process():
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
