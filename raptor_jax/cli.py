"""The command line: `raptor-jax COMMAND`; `COMMANDS` lists the commands.

The options are parsed before jax is imported, because jax reads its platform and its compilation cache from the
environment on import. The commands therefore import jax only when they run.

Every key of the configuration is also an option, for example --sac.actor-learning-rate 1e-3.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from raptor_jax import __version__
from raptor_jax import config as configs
from raptor_jax.commands import ceiling, distill, evaluate, export, inspect, report, rollout, sample, train, train_start
from raptor_jax.commands.devices import set_environment
from raptor_jax.commands.exit_status import CLOSED_PIPE, INTERRUPTED, USAGE
from raptor_jax.errors import UserError

COMMANDS = {
    module.COMMAND.name: module.COMMAND
    for module in (sample, train, train_start, evaluate, ceiling, distill, report, inspect, export, rollout)
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status (see `commands.exit_status`)."""
    try:
        options = _parse(sys.argv[1:] if arguments is None else arguments)
        set_environment(getattr(options, "device", "cpu"))
        status = COMMANDS[options.command].run(options)
        sys.stdout.flush()
        return status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        # The reader of a pipe, such as head, has ended. Python flushes standard output once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except KeyboardInterrupt:
        print("interrupted; files written so far are kept", file=sys.stderr)
        return INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """argparse with one-line errors."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Returns the options, with the name of the command as `command`. Raises UserError for an invalid command line."""
    parser = _Parser(prog="raptor-jax", description="Trains a population of quadrotor teachers in one JAX program.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND", parser_class=_Parser
    )
    for command in COMMANDS.values():
        command.add_options(
            commands.add_parser(
                command.name,
                help=command.summary,
                usage=f"raptor-jax {command.name} {command.usage}",
                description=f"{command.summary[0].upper()}{command.summary[1:]}.",
                allow_abbrev=False,
            )
        )
    options, unknown = parser.parse_known_args(_spelled_out(arguments))
    if unknown:
        raise UserError(_unknown(unknown[0]))
    return options


def _spelled_out(arguments: Sequence[str]) -> list[str]:
    """Joins each setting to its value with "=", because argparse takes a value such as -1e6 for an option."""
    known = {_with_dashes(f"--{key}") for key in configs.all_keys()}
    spelled: list[str] = []
    for argument in map(_with_dashes, arguments):
        if spelled and spelled[-1] in known and not argument.startswith("--"):
            spelled[-1] = f"{spelled[-1]}={argument}"
        else:
            spelled.append(argument)
    return spelled


def _with_dashes(argument: str) -> str:
    """Replaces underscores in the name of an option by dashes, so that keys can be typed as in the YAML file."""
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else argument


def _unknown(argument: str) -> str:
    if not argument.startswith("-"):
        return f"{argument}: unexpected argument; --help lists the arguments"
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


if __name__ == "__main__":
    sys.exit(main())
