"""The command `ceiling`: a lower bound of the returns that the kept actors could reach."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from raptor_jax.commands.devices import require_device
from raptor_jax.commands.exit_status import PASSED
from raptor_jax.commands.options import Command, add_device_option, positive, teachers
from raptor_jax.utils.console import make_console, say
from raptor_jax.utils.files import json_number, require_writable, write_json, write_requested

if TYPE_CHECKING:
    # These import jax, which must wait until the options are parsed.
    from rich.console import Console

    from raptor_jax.evaluation.ceilings import Ceilings
    from raptor_jax.runs.ceilings import TeacherCeiling
    from raptor_jax.runs.kept import KeptRun

_EPISODES = 10


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Searches, by gradient ascent through the simulator, for the best flight in each of the first episodes of the"
        " final evaluation. The search knows the episodes in advance. The mean return of these flights, the ceiling, is"
        " a lower bound of the best possible return. It is also written to the run's results.json."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="output directory of a run")
    parser.add_argument(
        "--teachers", type=teachers, metavar="N,FIRST:END,...", help="teachers, by number (default: all)"
    )
    parser.add_argument(
        "--episodes",
        type=positive,
        default=_EPISODES,
        help="episodes per teacher; each takes about 0.3 s on one core (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="file to which the numbers are also written")
    add_device_option(parser)


def _run(options: argparse.Namespace) -> int:
    require_device(options.device)
    from raptor_jax.evaluation.ceilings import find_all
    from raptor_jax.runs import ceilings, layout, results
    from raptor_jax.runs.kept import Flights, load_flights

    require_writable("--json", options.json)
    results.read(options.run / layout.RESULTS)
    run, episodes = load_flights(Flights(options.run, options.teachers, options.episodes))
    console = make_console()
    found = _of_teachers(run, find_all(run.settings, run.actors, run.drones, episodes, console))
    _print(found, console)
    write_requested("--json", options.json, lambda path: write_json(path, _to_json(run, episodes, found)))
    problem = ceilings.record(options.run, run.step, found)
    path = options.run / layout.RESULTS
    say(console, f"wrote the ceilings to {path}" if problem is None else f"{path} was not changed: {problem}")
    return PASSED


def _of_teachers(run: "KeptRun", found: "Ceilings") -> list["TeacherCeiling"]:
    """Returns the means over the episodes, [T]."""
    from raptor_jax.runs.ceilings import TeacherCeiling

    return [
        TeacherCeiling(
            teacher_id=number,
            ceiling=json_number(found.best_return[row].mean()),
            ceiling_return=json_number(found.kept_return[row].mean()),
            ceiling_episodes=found.best_return.shape[1],
            ceiling_share_terminated=float(found.terminated[row].mean()),
            share_terminated=float(found.kept_terminated[row].mean()),
        )
        for row, number in enumerate(run.ids)
    ]


def _print(found: Sequence["TeacherCeiling"], console: "Console") -> None:
    """Prints a line for each teacher, and a summary."""
    import numpy as np
    from rich.table import Table

    table = Table()
    for heading in ("teacher", "return", "ceiling", "share", "terminated", "terminated at the ceiling"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found:
        table.add_row(
            f"{one.teacher_id:04d}",
            "not finite" if one.ceiling_return is None else f"{one.ceiling_return:.1f}",
            "not finite" if one.ceiling is None else f"{one.ceiling:.1f}",
            "-" if one.share is None else f"{one.share:.3f}",
            f"{one.share_terminated:.0%}",
            f"{one.ceiling_share_terminated:.0%}",
        )
    console.print(table)
    shares = [one.share for one in found if one.share is not None]
    if shares:
        console.print(f"return / ceiling: median {np.median(shares):.3f}, lowest {min(shares):.3f}")
    console.print(
        f"The ceiling, the mean of the best flights found in {found[0].ceiling_episodes} episodes, is a lower bound of"
        " the best possible return.",
        soft_wrap=True,
    )


def _to_json(run: "KeptRun", episodes: int, found: Sequence["TeacherCeiling"]) -> dict[str, object]:
    """Returns the content of the file of --json."""
    about = {name: run.results.run[name] for name in ("run", "step", "device", "machine", "versions")}
    entries = [one._asdict() | {"ceiling_share": one.share} for one in found]
    return {"run": about | {"episodes": episodes}, "teachers": entries}


COMMAND = Command(
    "ceiling",
    "search for the best flights of a run's drones, for comparison with its kept actors",
    "[options] RUN",
    _add_options,
    _run,
)
