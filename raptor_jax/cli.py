"""The command line: `raptor-jax sample | train | train-start | evaluate | report | inspect | export | rollout`.

The options (options.py) are read before jax is imported, because jax takes its platform and its compilation cache from
the environment; hence the imports within the commands.
"""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

from raptor_jax import config as configs
from raptor_jax.errors import UserError, first_line
from raptor_jax.options import parse

PASSED, USAGE, NOT_PASSED, STOPPED, INTERRUPTED = 0, 2, 3, 4, 130
"""Exit statuses: all well; wrong input; trained or evaluated, but some teacher did not pass; training saved and stopped
on a signal, to be resumed; Ctrl-C elsewhere."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status, one of those above."""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        _set_environment(getattr(options, "device", "cpu"))
        return _COMMANDS[options.command](options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("interrupted; what was written so far stays", file=sys.stderr)
        return INTERRUPTED


def _load_config(options: argparse.Namespace) -> configs.Config:
    known = configs.all_keys()
    overrides = {key: value for key, value in vars(options).items() if key in known}
    return configs.load(options.config, overrides)


def _console() -> Any:
    from raptor_jax.utils.console import make_console

    return make_console()


def _set_environment(device: str) -> None:
    """Sets what jax reads from the environment when it is imported, unless the user has."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(cache, "raptor_jax", "xla"))
    # Orbax warns of the leftovers that it clears away.
    logging.getLogger("absl").setLevel(logging.ERROR)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
    # One large program: what other programs on the card would need is not kept free.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")
    if device != "auto":
        os.environ["JAX_PLATFORMS"] = device


def _join_processes() -> None:
    """Makes this process one of several of one run. Raises UserError where it cannot find the others."""
    import jax

    given = (os.environ.get(f"JAX_{name}") for name in ("NUM_PROCESSES", "PROCESS_ID"))
    processes, own = (int(text) if text and text.isdecimal() else None for text in given)
    try:
        jax.distributed.initialize(num_processes=processes, process_id=own)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"--distributed: {first_line(error)}; start it by SLURM or Open MPI, or set JAX_COORDINATOR_ADDRESS,"
            " JAX_NUM_PROCESSES and JAX_PROCESS_ID in each process"
        ) from None


def _require_device(device: str) -> None:
    """Raises UserError if jax cannot compute where the user wants."""
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        # jax 0.10 fails an assertion without a message where the platform's plugin is not installed.
        reason = f" ({str(error).splitlines()[0]})" if str(error) else ""
        raise UserError(
            f"--device {device}: JAX finds no such device{reason}; install raptor-jax[cuda12] on a machine with an"
            " NVIDIA GPU, or pass --device cpu"
        ) from None


def _sample(options: argparse.Namespace) -> int:
    from raptor_jax.drones import distribution, sampling
    from raptor_jax.utils.console import say

    config = _load_config(options).sampling
    console = _console()
    num = options.num_drones or config.num_drones
    written = sampling.write_drones(options.dynamics_dir, config, num)
    say(console, f"{'wrote' if written else 'already there, identical:'} {num} drones in {options.dynamics_dir}")
    distribution.report(options.dynamics_dir, config, console)
    return PASSED


def _train(options: argparse.Namespace) -> int:
    config = _load_config(options)
    if options.generate_dynamics:
        if options.drone:
            raise UserError("--generate-dynamics: writes into --dynamics-dir; leave --drone out")
        options.num_drones = options.num_teachers
        return _sample(options)
    from raptor_jax.drones import files

    first, last = options.teachers or (0, options.num_teachers)
    if options.drone:
        drones = files.load_named(options.drone, last)[first:]
    else:
        drones = files.load_directory(options.dynamics_dir, last)[first:]
    if options.distributed:
        _join_processes()
    _require_device(options.device)
    import numpy as np

    from raptor_jax.training import loop
    from raptor_jax.utils.console import say

    console = _console()
    ids = np.arange(first, first + len(drones))
    job = loop.Job(config, drones, ids, options.output_dir)
    ending = loop.train(job, console, overwrite=options.overwrite, resume=options.resume)
    if ending is loop.Ending.STOPPED:
        return STOPPED
    say(console, f"results: {options.output_dir / 'results.json'}")
    say(console, f"curves:  tensorboard --logdir {options.output_dir / loop.LOGS}")
    return PASSED if ending is loop.Ending.PASSED else NOT_PASSED


def _train_start(options: argparse.Namespace) -> int:
    config = _load_config(options)
    from raptor_jax.drones import files

    drones = files.load_directory(options.dynamics_dir)
    _require_device(options.device)
    from raptor_jax.training import warm_start
    from raptor_jax.utils.console import say

    console = _console()
    warm_start.train_start(config, drones, options.output, console)
    say(console, f"wrote {options.output}; train from it with --training.start {options.output}")
    return PASSED


def _evaluate(options: argparse.Namespace) -> int:
    _require_device(options.device)
    from raptor_jax import judge
    from raptor_jax.runs.kept import Flights

    asked = Flights(options.run, options.teachers, options.episodes, options.seed)
    if options.matrix is None:
        if options.drones is not None:
            raise UserError(
                f"--drones {options.drones}: is for --matrix PNG; elsewhere each teacher flies its own drone"
            )
        passed = judge.evaluate_run(asked, options.policy, options.simulator, options.json, _console())
        return PASSED if passed else NOT_PASSED
    if (options.policy, options.simulator) != ("kept", "jax"):
        raise UserError("--matrix: flies the kept actors in our simulator only; leave --policy and --simulator out")
    from raptor_jax import transfer

    transfer.fly_matrix(asked, options.drones, options.matrix, options.json, _console())
    return PASSED


def _report(options: argparse.Namespace) -> int:
    _require_device(options.device)
    from raptor_jax import report

    path = options.output or options.run / "report.html"
    size = report.write(options.run, path)
    _console().print(f"wrote {path} ({size / 1e6:.1f} MB); it opens in a browser without a network", soft_wrap=True)
    return PASSED


def _inspect(options: argparse.Namespace) -> int:
    from raptor_jax import inspection

    inspection.inspect(options.path, options.teacher, options.json, _console())
    return PASSED


def _export(options: argparse.Namespace) -> int:
    from raptor_jax.export import command

    command.export_run(options.run, options.format, options.teacher, options.output, _console())
    return PASSED


def _rollout(options: argparse.Namespace) -> int:
    _require_device(options.device)
    from raptor_jax.export import dataset

    dataset.roll_out(options.run, options.teacher, options.episodes, options.seed, options.output, _console())
    return PASSED


_COMMANDS = {
    "sample": _sample,
    "train": _train,
    "train-start": _train_start,
    "evaluate": _evaluate,
    "report": _report,
    "inspect": _inspect,
    "export": _export,
    "rollout": _rollout,
}


if __name__ == "__main__":
    sys.exit(main())
