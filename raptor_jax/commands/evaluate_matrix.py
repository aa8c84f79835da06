"""`evaluate --matrix`: every teacher on every drone, as a table, a picture and JSON."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from raptor_jax.drones import files
from raptor_jax.drones.parameters import stack
from raptor_jax.drones.quantities import PARAMETERS
from raptor_jax.errors import printable
from raptor_jax.evaluation.matrix import Matrix, column_of, evaluate_all
from raptor_jax.runs.kept import Flights, load_flights
from raptor_jax.runs.results_table import MOST_ROWS
from raptor_jax.utils.console import say
from raptor_jax.utils.files import json_number, require_writable, write_atomically, write_json, write_requested

_MOST_LABELS = 32
_ORDER = "rotor_time_constant_rising"
"""Orders the drones of the picture: it explains most of the difficulty of a drone (docs/methods.md)."""


def evaluate_matrix(
    requested: Flights, drones_dir: Path | None, picture: Path, json_path: Path | None, console: Console
) -> None:
    """Evaluates the newest kept actors of a run on every drone, and plots their mean returns.

    Args:
        requested: which teachers, and the number of episodes on each drone, with the same initial draws for all drones.
        drones_dir: directory of the drones; None for the drones of the teachers.
        picture: PNG file to write.
        json_path: file to which the numbers are also written; None for none.
        console: where the table is printed.

    Raises:
        UserError: there is no such run, teacher or drone, or a file cannot be written.
    """
    require_writable("--matrix", picture)
    require_writable("--json", json_path)
    run, episodes = load_flights(requested)
    drones = run.drone_files if drones_dir is None else files.load_directory(drones_dir)
    own = [column_of(file, drones) for file in run.drone_files]
    stacked = files.stack_for_training(drones, run.settings.environment)
    matrix = Matrix(run.ids, drones, own, *evaluate_all(run.settings, run.actors, stacked, episodes, console))
    pass_return = run.settings.training.pass_return
    _print(matrix, pass_return, console)
    write_requested("--matrix", picture, lambda path: _draw(matrix, pass_return, episodes, path))
    say(console, f"wrote {picture}")
    write_requested("--json", json_path, lambda path: write_json(path, _to_json(matrix, requested.run, episodes)))


def _print(matrix: Matrix, pass_return: float, console: Console) -> None:
    """Prints the returns of at most MOST_ROWS teachers, which pass on the fewest drones, on own and other drones."""
    passed = matrix.mean_return > pass_return
    is_own = np.zeros_like(passed)
    for row, column in enumerate(matrix.own):
        if column is not None:
            is_own[row, column] = True
    table = Table("teacher", "own drone", "median of the others", "worst of the others", "passes on")
    lowest = np.argsort(passed.sum(axis=1), kind="stable")[:MOST_ROWS]
    for row in sorted(lowest, key=lambda row: matrix.teacher_ids[row]):
        others = matrix.mean_return[row][~is_own[row]]
        column = matrix.own[row]
        table.add_row(
            f"{matrix.teacher_ids[row]:04d}",
            "-" if column is None else f"{matrix.mean_return[row, column]:.0f}",
            *((f"{np.median(others):.0f}", f"{others.min():.0f}") if others.size else ("-", "-")),
            f"{passed[row].sum()} of {len(matrix.drones)}",
        )
    console.print(table)
    hardest = int(np.argmin(passed.sum(axis=0)))
    for name, where in (("own", is_own), ("other", ~is_own)):
        if where.any():
            median = np.median(matrix.mean_return[where])
            console.print(f"{name} drones: {passed[where].mean():.0%} pass, median {median:.0f}")
    say(
        console,
        f"the drone on which the fewest teachers pass: {matrix.drones[hardest].path.name},"
        f" {passed[:, hardest].sum()} of {len(matrix.teacher_ids)}",
    )


def _draw(matrix: Matrix, pass_return: float, episodes: int, picture: Path) -> None:
    from matplotlib.figure import Figure

    order = PARAMETERS[_ORDER].of(stack([file.drone for file in matrix.drones]).dynamics)
    columns = np.argsort(order, kind="stable").tolist()
    place_of = {column: place for place, column in enumerate(columns)}
    # Teachers whose own drone is not among these come last.
    own = [len(columns) if column is None else place_of[column] for column in matrix.own]
    rows = np.argsort(own, kind="stable").tolist()
    shown = matrix.mean_return[np.ix_(rows, columns)]
    best = max(float(shown.max()), pass_return + 1)
    figure = Figure(figsize=(9, 7.5), layout="constrained")
    axes = figure.add_subplot()
    # pass_return is the middle of the colour map.
    image = axes.imshow(
        shown, cmap="RdYlBu", vmin=2 * pass_return - best, vmax=best, aspect="auto", interpolation="none"
    )
    bar = f"mean return of {episodes} episodes; above {pass_return:g} passes"
    figure.colorbar(image, label=bar, extend="min")
    axes.scatter(
        [own[row] for row in rows if matrix.own[row] is not None],
        [place for place, row in enumerate(rows) if matrix.own[row] is not None],
        s=5,
        color="black",
    )
    axes.set_title("each teacher on each drone; a dot: its own drone")
    axes.set_xlabel(f"drone, by rising rotor time constant ({order.min():.3f} to {order.max():.3f} s)")
    axes.set_ylabel("teacher, in the order of its own drone")
    if len(columns) <= _MOST_LABELS:
        axes.set_xticks(range(len(columns)), [printable(matrix.drones[column].name) for column in columns], rotation=90)
    if len(rows) <= _MOST_LABELS:
        axes.set_yticks(range(len(rows)), [f"{matrix.teacher_ids[row]:04d}" for row in rows])
    write_atomically(picture, lambda file: figure.savefig(file, format="png", dpi=120))


def _to_json(matrix: Matrix, run: Path, episodes: int) -> dict[str, Any]:
    """Returns the content of the JSON file; NaN becomes null."""
    numbers = {
        "mean_return": matrix.mean_return,
        "std_return": matrix.std_return,
        "share_terminated": matrix.share_terminated,
    }
    return {
        "run": str(run),
        "episodes": episodes,
        "teacher_ids": matrix.teacher_ids,
        "drones": [file.path.name for file in matrix.drones],
        "own": matrix.own,
        **{name: [[json_number(value) for value in row] for row in values] for name, values in numbers.items()},
    }
