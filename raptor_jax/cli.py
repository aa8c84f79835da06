"""The command line: `raptor-jax sample | train | train-start | evaluate | report | inspect | export | rollout`.

The options are read before jax is imported, because jax takes its platform and its compilation cache from the
environment. Every key of the configuration is an option: --sac.learning-rate 1e-3.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from raptor_jax import config as configs
from raptor_jax.errors import UserError, first_line

PASSED, USAGE, NOT_PASSED, STOPPED, INTERRUPTED = 0, 2, 3, 4, 130
"""Exit statuses: all well; wrong input; trained or evaluated, but some teacher did not pass; training saved and stopped
on a signal, to be resumed; Ctrl-C elsewhere."""


_USAGES = {
    "sample": "raptor-jax sample [options] [--sampling.KEY VALUE ...]",
    "train": "raptor-jax train [options] [--SECTION.KEY VALUE ...]",
    "train-start": "raptor-jax train-start [options] [--SECTION.KEY VALUE ...]",
    "evaluate": "raptor-jax evaluate [options] RUN",
    "report": "raptor-jax report [options] RUN",
    "inspect": "raptor-jax inspect PATH",
    "export": "raptor-jax export [options] --format FORMAT RUN",
    "rollout": "raptor-jax rollout [options] RUN",
}


class _Parser(argparse.ArgumentParser):
    """argparse with one-line errors."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see raptor-jax --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status, one of those above."""
    try:
        options = _parse(sys.argv[1:] if arguments is None else arguments)
        _set_environment(getattr(options, "device", "cpu"))
        return options.command(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("interrupted; what was written so far stays", file=sys.stderr)
        return INTERRUPTED


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog="raptor-jax", description="Trains a population of quadrotor teachers in one JAX program.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", parser_class=_Parser)
    for name, summary, add_options, command in (
        ("sample", "draw drones and check their distribution", _sample_options, _sample),
        ("train", "train a teacher for every drone", _train_options, _train),
        ("train-start", "train one actor on many drones, for teachers to begin with", _start_options, _train_start),
        ("evaluate", "fly the kept actors of a run again", _evaluate_options, _evaluate),
        ("report", "write what a run reached, and its flights, as one HTML file", _report_options, _report),
        ("inspect", "show what a run or a drone's file holds", _inspect_options, _inspect),
        ("export", "write teachers of a run in another format", _export_options, _export),
        ("rollout", "fly teachers of a run and write every step", _rollout_options, _rollout),
    ):
        description = f"{summary[0].upper()}{summary[1:]}."
        one = commands.add_parser(name, help=summary, usage=_USAGES[name], description=description, allow_abbrev=False)
        add_options(one)
        one.set_defaults(command=command)
    options, unknown = parser.parse_known_args(_spelled_out(arguments))
    if unknown:
        raise UserError(_unknown(unknown[0]))
    return options


def _spelled_out(arguments: Sequence[str]) -> list[str]:
    """Joins the options of the configuration to their values, which may look like options themselves (-1e6)."""
    known = {_with_dashes(f"--{key}") for key in configs.all_keys()}
    spelled: list[str] = []
    for argument in map(_with_dashes, arguments):
        if spelled and spelled[-1] in known and not argument.startswith("--"):
            spelled[-1] = f"{spelled[-1]}={argument}"
        else:
            spelled.append(argument)
    return spelled


def _with_dashes(argument: str) -> str:
    """Spells an option's name with dashes, so that keys may be typed as they stand in the YAML file."""
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else argument


def _unknown(argument: str) -> str:
    name = argument.partition("=")[0]
    dotted = name.removeprefix("--").replace("-", "_")
    alike = configs.nearest(dotted) if "." in dotted else None
    if alike == dotted:
        hint = "it is a setting of another command"
    else:
        hint = f"did you mean --{alike.replace('_', '-')}?" if alike else "--help lists the options"
    return f"{name}: unknown option; {hint}"


def _sample_options(parser: argparse.ArgumentParser) -> None:
    _dynamics_option(parser)
    parser.add_argument("--num-drones", type=_positive, help="drones to write (default: sampling.num_drones)")
    _config_options(parser, ("sampling",))


def _train_options(parser: argparse.ArgumentParser) -> None:
    _dynamics_option(parser)
    parser.add_argument(
        "--output-dir",
        type=Path,
        default=Path("experiments/pre_training"),
        help="where the run goes (default: %(default)s)",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--num-teachers", type=_positive, help="train the first N drones (default: all)")
    which.add_argument(
        "--teachers",
        type=_slice,
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
    _device_option(parser)
    _config_options(parser, tuple(configs.sections()))


def _start_options(parser: argparse.ArgumentParser) -> None:
    _dynamics_option(parser, "configs/start.yaml")
    parser.add_argument(
        "--output", type=Path, default=Path("start.npz"), help="the file that it writes (default: %(default)s)"
    )
    _device_option(parser)
    _config_options(parser, ("environment", "sac", "apg", "training"))


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="output directory of a run")
    parser.add_argument(
        "--episodes", type=_positive, help="episodes of each teacher (default: as many as judged the run)"
    )
    parser.add_argument(
        "--policy",
        choices=("kept", "foundation"),
        default="kept",
        help="who flies: the kept actors, or RAPTOR's published foundation policy, compared with them"
        " (needs raptor-jax[foundation]; default: %(default)s)",
    )
    parser.add_argument("--seed", type=_seed, help="seed of the episodes (default: the one that judged the run)")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    _device_option(parser)


def _report_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="output directory of a run")
    parser.add_argument("--output", type=Path, help="the file that it writes (default: RUN/report.html)")
    _device_option(parser)


def _inspect_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="PATH", help="output directory of a run, or a drone's JSON file")


def _export_options(parser: argparse.ArgumentParser) -> None:
    _teacher_options(parser, "RUN/export/FORMAT")
    parser.add_argument(
        "--format",
        required=True,
        choices=("npz", "onnx", "rltools-h5", "c"),
        help="NumPy's archive, which --training.start takes too; ONNX; the HDF5 checkpoint of RLtools; or a C header"
        " for a microcontroller (onnx and rltools-h5 need raptor-jax[export])",
    )


def _rollout_options(parser: argparse.ArgumentParser) -> None:
    _teacher_options(parser, "RUN/rollouts")
    parser.add_argument(
        "--episodes", type=_positive, help="episodes of each teacher (default: as many as judged the run)"
    )
    parser.add_argument("--seed", type=_seed, help="seed of the episodes (default: the one that judged the run)")
    _device_option(parser)


def _teacher_options(parser: argparse.ArgumentParser, output: str) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="output directory of a run")
    parser.add_argument(
        "--teacher", type=_one_or_all, default="all", metavar="N|all", help="which teacher (default: %(default)s)"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help=f"directory for one file of each teacher (default: {output})"
    )


def _dynamics_option(parser: argparse.ArgumentParser, config: str = configs.DEFAULT_CONFIG) -> None:
    parser.add_argument("--config", default=config, help="YAML file of settings (default: %(default)s)")
    parser.add_argument(
        "--dynamics-dir",
        type=Path,
        default=Path("data/dynamics"),
        help="the drones, one JSON file each (default: %(default)s)",
    )


def _device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute (default: %(default)s)"
    )


def _config_options(parser: argparse.ArgumentParser, sections: Sequence[str]) -> None:
    """Adds an option for every key; its value stays text until the configuration checks it."""
    parser.epilog = "A key that is not given here has the value of the --config file, or else its default."
    for section in sections:
        model = configs.sections()[section]
        group = parser.add_argument_group(section, model.__doc__)
        for key, field in model.model_fields.items():
            group.add_argument(
                f"--{section}.{key.replace('_', '-')}",
                dest=f"{section}.{key}",
                default=argparse.SUPPRESS,
                metavar=configs.type_name(field.annotation),
                help=f"{field.description} (default: {field.default})".replace("%", "%%"),
            )


def _number_of(least: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} should be a whole number of at least {least}")
        return int(text)

    return convert


def _one_or_all(text: str) -> int | None:
    if text != "all" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} should be a teacher's number, or all")
    return None if text == "all" else int(text)


def _slice(text: str) -> tuple[int, int]:
    first, colon, end = text.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise argparse.ArgumentTypeError(f"{text!r} should be FIRST:END, two whole numbers, the second the larger one")
    return int(first), int(end)


_positive = _number_of(1)
_seed = _number_of(0)


def _load_config(options: argparse.Namespace) -> configs.Config:
    known = configs.all_keys()
    overrides = {key: value for key, value in vars(options).items() if key in known}
    return configs.load(options.config, overrides)


def _console() -> Any:
    from rich.console import Console

    # Log files and pipes get whole lines; a terminal gets its own width.
    return Console() if sys.stdout.isatty() else Console(width=140)


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
    from raptor_jax.dynamics import distribution, sampling
    from raptor_jax.progress import say

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
        options.num_drones = options.num_teachers
        return _sample(options)
    from raptor_jax.dynamics import files

    first, last = options.teachers or (0, options.num_teachers)
    drones = files.load_directory(options.dynamics_dir, last)[first:]
    if options.distributed:
        _join_processes()
    _require_device(options.device)
    import numpy as np

    from raptor_jax import trainer
    from raptor_jax.progress import say

    console = _console()
    ids = np.arange(first, first + len(drones))
    job = trainer.Job(config, drones, ids, options.output_dir)
    ending = trainer.train(job, console, overwrite=options.overwrite, resume=options.resume)
    if ending is trainer.Ending.STOPPED:
        return STOPPED
    say(console, f"results: {options.output_dir / 'results.json'}")
    say(console, f"curves:  tensorboard --logdir {options.output_dir / trainer.LOGS}")
    return PASSED if ending is trainer.Ending.PASSED else NOT_PASSED


def _train_start(options: argparse.Namespace) -> int:
    config = _load_config(options)
    from raptor_jax.dynamics import files

    drones = files.load_directory(options.dynamics_dir)
    _require_device(options.device)
    from raptor_jax import start_trainer
    from raptor_jax.progress import say

    console = _console()
    start_trainer.train_start(config, drones, options.output, console)
    say(console, f"wrote {options.output}; train from it with --training.start {options.output}")
    return PASSED


def _evaluate(options: argparse.Namespace) -> int:
    _require_device(options.device)
    from raptor_jax import judge

    passed = judge.evaluate_run(options.run, options.policy, options.episodes, options.seed, options.json, _console())
    return PASSED if passed else NOT_PASSED


def _report(options: argparse.Namespace) -> int:
    _require_device(options.device)
    from raptor_jax import report

    path = options.output or options.run / "report.html"
    size = report.write(options.run, path)
    _console().print(f"wrote {path} ({size / 1e6:.1f} MB); it opens in a browser without a network", soft_wrap=True)
    return PASSED


def _inspect(options: argparse.Namespace) -> int:
    from raptor_jax import inspection

    inspection.show(options.path, _console())
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


if __name__ == "__main__":
    sys.exit(main())
