"""What a command is, the options that several commands share, and the parsers of their values; all without jax."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from raptor_jax import config as configs


class Command(NamedTuple):
    """A command of `raptor-jax`."""

    name: str
    summary: str
    """Description in the list of commands."""
    usage: str
    """Arguments in the usage line, after the name."""
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    """Returns the exit status. Only here may jax be imported, because it reads the environment on import."""


def add_teacher_options(parser: argparse.ArgumentParser, output: str) -> None:
    """Adds RUN, --teacher and --output; `output` is the default of the latter, as the help text shows it."""
    parser.add_argument("run", type=Path, metavar="RUN", help="output directory of a run")
    add_selection_options(parser, output)


def add_selection_options(parser: argparse.ArgumentParser, output: str) -> None:
    """Adds --teacher and --output, as `add_teacher_options`."""
    parser.add_argument(
        "--teacher",
        type=one_or_all,
        default="all",
        metavar="N|all",
        help="number of the teacher (default: %(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help=f"directory of the files, one per teacher (default: {output})"
    )


def add_dynamics_option(
    parser: argparse.ArgumentParser, config: str = configs.DEFAULT_CONFIG
) -> "argparse._MutuallyExclusiveGroup":
    """Adds --config and --dynamics-dir, and returns the group for options that exclude the latter."""
    parser.add_argument("--config", default=config, help="YAML file of settings (default: %(default)s)")
    drones = parser.add_mutually_exclusive_group()
    drones.add_argument(
        "--dynamics-dir",
        type=Path,
        default=Path("data/dynamics"),
        help="directory of the drones, with one JSON file per drone (default: %(default)s)",
    )
    return drones


def add_device_option(parser: argparse.ArgumentParser) -> None:
    """Adds --device, from which `cli` sets jax's environment variables."""
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="device to compute on (default: %(default)s)"
    )


def add_config_options(parser: argparse.ArgumentParser, sections: Sequence[str]) -> None:
    """Adds an option for every key of these sections; values stay text until the configuration checks them."""
    parser.epilog = "A setting that is not given as an option has its value in the --config file, or else its default."
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


def load_config(options: argparse.Namespace) -> configs.Config:
    """Returns the settings of --config, overridden by those given as options. Raises UserError."""
    known = configs.all_keys()
    overrides = {key: value for key, value in vars(options).items() if key in known}
    return configs.load(options.config, overrides)


def number_of(least: int) -> Callable[[str], int]:
    """Returns a parser of integers of at least `least`, and below the limit of 2^31 that settings have."""

    def convert(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) < 2**31:
            raise argparse.ArgumentTypeError(f"{text!r} should be a whole number from {least} to {2**31 - 1}")
        return int(text)

    return convert


def one_or_all(text: str) -> int | None:
    """Parses the number of a teacher; None stands for all."""
    if text != "all" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} should be a teacher's number, or all")
    return None if text == "all" else int(text)


def teachers(text: str) -> list[range]:
    """Parses numbers and slices of teachers, as in 3,17,40:50."""
    spans = [
        part if ":" in part else f"{part}:{int(part) + 1}" if part.isdecimal() else part for part in text.split(",")
    ]
    return [range(*slice_of(span)) for span in spans]


def slice_of(text: str) -> tuple[int, int]:
    """Parses FIRST:END."""
    first, colon, end = text.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise argparse.ArgumentTypeError(f"{text!r} should be FIRST:END, two whole numbers with FIRST below END")
    return int(first), int(end)


positive = number_of(1)
seed = number_of(0)
