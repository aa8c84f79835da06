"""Teachers on drones that they were not trained on, every one on every one: `evaluate --matrix`."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from raptor_jax.drones import files
from raptor_jax.drones.parameters import stack
from raptor_jax.drones.quantities import PARAMETERS
from raptor_jax.errors import printable
from raptor_jax.evaluation.matrix import Matrix, column_of, fly_all
from raptor_jax.runs.kept import Flights, load_flights
from raptor_jax.utils.console import say
from raptor_jax.utils.files import json_number, require_writable, write_atomically, write_json

_MOST_ROWS = 40
_MOST_LABELS = 32
_ORDER = "rotor_time_constant_rising"
"""What the drones of the picture are ordered by: most of the difficulty lies in it (docs/methods.md)."""


def fly_matrix(
    asked: Flights, drones_dir: Path | None, picture: Path, json_path: Path | None, console: Console
) -> None:
    """Flies the newest kept actors of a run on every drone, and draws what each reached.

    Args:
        asked: which flights; each teacher flies as many episodes on every drone, and all the same draws.
        drones_dir: the drones; None for those of the teachers.
        picture: the PNG file that it writes.
        json_path: also write the numbers here.
        console: where a table goes.

    Raises:
        UserError: there is no such run, teacher or drone, or a file cannot be written.
    """
    require_writable("--matrix", picture)
    require_writable("--json", json_path)
    judged, episodes = load_flights(asked)
    drones = judged.drone_files if drones_dir is None else files.load_directory(drones_dir)
    own = [column_of(file, drones) for file in judged.drone_files]
    stacked = files.stack_for_training(drones, judged.settings.environment)
    flown = fly_all(judged.settings, judged.actors, stacked, episodes, console)
    found = Matrix(judged.ids, drones, own, *flown)
    pass_return = judged.settings.training.pass_return
    _show(found, pass_return, console)
    _draw(found, pass_return, episodes, picture)
    say(console, f"wrote {picture}")
    if json_path is not None:
        write_json(json_path, _plain(found, asked, episodes))


def _show(matrix: Matrix, pass_return: float, console: Console) -> None:
    """Prints how each teacher does on its own drone and on the others; the narrowest ones of a large population."""
    passed = matrix.mean_return > pass_return
    is_own = np.zeros_like(passed)
    for row, column in enumerate(matrix.own):
        if column is not None:
            is_own[row, column] = True
    table = Table("teacher", "own drone", "median of the others", "worst of the others", "passes on")
    order = np.argsort(passed.sum(axis=1), kind="stable")[:_MOST_ROWS]
    for row in sorted(order, key=lambda row: matrix.teacher_ids[row]):
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
        f"the drone that fewest pass on: {matrix.drones[hardest].path.name}, {passed[:, hardest].sum()} of"
        f" {len(matrix.teacher_ids)} teachers",
    )


def _draw(matrix: Matrix, pass_return: float, episodes: int, picture: Path) -> None:
    from matplotlib.figure import Figure

    hardness = PARAMETERS[_ORDER].of(stack([file.drone for file in matrix.drones]).dynamics)
    columns = np.argsort(hardness, kind="stable").tolist()
    place_of = {column: place for place, column in enumerate(columns)}
    # Teachers without a drone of their own among these come last.
    own = [len(columns) if column is None else place_of[column] for column in matrix.own]
    rows = np.argsort(own, kind="stable").tolist()
    shown = matrix.mean_return[np.ix_(rows, columns)]
    best = max(float(shown.max()), pass_return + 1)
    figure = Figure(figsize=(9, 7.5), layout="constrained")
    axes = figure.add_subplot()
    # The bar lies in the middle of the colours.
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
    axes.set_xlabel(f"drone, by rising rotor time constant ({hardness.min():.3f} to {hardness.max():.3f} s)")
    axes.set_ylabel("teacher, in the order of its own drone")
    if len(columns) <= _MOST_LABELS:
        axes.set_xticks(range(len(columns)), [printable(matrix.drones[column].name) for column in columns], rotation=90)
    if len(rows) <= _MOST_LABELS:
        axes.set_yticks(range(len(rows)), [f"{matrix.teacher_ids[row]:04d}" for row in rows])
    write_atomically(picture, lambda file: figure.savefig(file, format="png", dpi=120))


def _plain(matrix: Matrix, asked: Flights, episodes: int) -> dict[str, Any]:
    """Returns the matrix as JSON has it; NaN is null."""
    numbers = {name: getattr(matrix, name) for name in ("mean_return", "std_return", "share_terminated")}
    return {
        "run": str(asked.run),
        "episodes": episodes,
        "teacher_ids": matrix.teacher_ids,
        "drones": [file.path.name for file in matrix.drones],
        "own": matrix.own,
        **{name: [[json_number(value) for value in row] for row in values] for name, values in numbers.items()},
    }
