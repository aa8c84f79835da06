"""What the command line accepts: the commands' options, read without jax.

Every key of the configuration is an option: --sac.learning-rate 1e-3.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from raptor_jax import config as configs
from raptor_jax.errors import UserError


class _Parser(argparse.ArgumentParser):
    """argparse with one-line errors."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see raptor-jax --help")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Returns the options; `command` is the command's name. Raises UserError for what no command accepts."""
    parser = _Parser(prog="raptor-jax", description="Trains a population of quadrotor teachers in one JAX program.")
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND", parser_class=_Parser
    )
    for name, (summary, usage, add_options) in _COMMANDS.items():
        add_options(
            commands.add_parser(
                name,
                help=summary,
                usage=f"raptor-jax {name} {usage}",
                description=f"{summary[0].upper()}{summary[1:]}.",
                allow_abbrev=False,
            )
        )
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
    if replacement := configs.renamed(dotted):
        return f"{name}: {replacement}"
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
    _dynamics_option(parser).add_argument(
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
    _config_options(parser, ("environment", "sac", "training"))


def _evaluate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="output directory of a run")
    parser.add_argument(
        "--teachers", type=_teachers, metavar="N,FIRST:END,...", help="who flies, by number (default: all teachers)"
    )
    parser.add_argument(
        "--episodes", type=_positive, help="episodes of each teacher (default: as many as judged the run)"
    )
    parser.add_argument(
        "--simulator",
        choices=("jax", "l2f"),
        default="jax",
        help="where they fly: here, or in the original simulator, compared with here (needs raptor-jax[l2f];"
        " default: %(default)s)",
    )
    parser.add_argument(
        "--matrix",
        type=Path,
        metavar="PNG",
        help="fly every teacher on every drone instead, and draw what each reached",
    )
    parser.add_argument(
        "--drones", type=Path, metavar="DIR", help="the drones of --matrix (default: those of the teachers)"
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
    parser.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="output directory of a run, its checkpoints or one of them; or a drone's file, a platform's name, a start,"
        " an exported .npz, curves",
    )
    parser.add_argument(
        "--teacher", type=_number_of(0), metavar="N", help="show the drone, the result and the curve of one teacher"
    )
    parser.add_argument("--json", action="store_true", help="print all of it as JSON")


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


def _dynamics_option(
    parser: argparse.ArgumentParser, config: str = configs.DEFAULT_CONFIG
) -> "argparse._MutuallyExclusiveGroup":
    """Adds --config and --dynamics-dir, and returns the group for what is named instead of the latter."""
    parser.add_argument("--config", default=config, help="YAML file of settings (default: %(default)s)")
    drones = parser.add_mutually_exclusive_group()
    drones.add_argument(
        "--dynamics-dir",
        type=Path,
        default=Path("data/dynamics"),
        help="the drones, one JSON file each (default: %(default)s)",
    )
    return drones


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


def _teachers(text: str) -> list[range]:
    """Reads teachers as numbers and slices, 3,17,40:50."""
    spans = [
        part if ":" in part else f"{part}:{int(part) + 1}" if part.isdecimal() else part for part in text.split(",")
    ]
    return [range(*_slice(span)) for span in spans]


def _slice(text: str) -> tuple[int, int]:
    first, colon, end = text.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise argparse.ArgumentTypeError(f"{text!r} should be FIRST:END, two whole numbers, the second the larger one")
    return int(first), int(end)


_positive = _number_of(1)
_seed = _number_of(0)


_COMMANDS: dict[str, tuple[str, str, Callable[[argparse.ArgumentParser], None]]] = {
    "sample": (
        "draw drones and check their distribution",
        "[options] [--sampling.KEY VALUE ...]",
        _sample_options,
    ),
    "train": (
        "train a teacher for every drone",
        "[options] [--SECTION.KEY VALUE ...]",
        _train_options,
    ),
    "train-start": (
        "train one actor on many drones, for teachers to begin with",
        "[options] [--SECTION.KEY VALUE ...]",
        _start_options,
    ),
    "evaluate": ("fly the kept actors of a run again", "[options] RUN", _evaluate_options),
    "report": ("write what a run reached, and its flights, as one HTML file", "[options] RUN", _report_options),
    "inspect": ("show what a run, a checkpoint or a drone's file holds", "[options] PATH", _inspect_options),
    "export": ("write teachers of a run in another format", "[options] --format FORMAT RUN", _export_options),
    "rollout": ("fly teachers of a run and write every step", "[options] RUN", _rollout_options),
}
"""By name: what the command does, what follows its name, and its options."""
