"""What a run or a drone's file holds: the command `inspect`."""

import dataclasses
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raptor_jax import checkpoints, metrics, results
from raptor_jax.dynamics import files, parameters
from raptor_jax.errors import printable
from raptor_jax.memory import readable_bytes
from raptor_jax.population.blocks import tree_bytes
from raptor_jax.progress import say


def show(path: Path, console: Console) -> None:
    """Prints what `path` holds: a run's state, teachers and arrays, or a drone's parameters with their units.

    Raises:
        UserError: it is neither.
    """
    if os.path.isdir(path):
        _show_run(path, console)
    else:
        _show_drone(files.load_drone(path), console)


def _show_run(run: Path, console: Console) -> None:
    found = results.read(run / results.FILE)
    about, teachers = found["run"], found["teachers"]
    say(console, f"{run}: {about['status']}, step {about['step']:,}, {len(teachers)} teachers")
    results.print_table(teachers, about["config"]["training"]["pass_return"], console)
    curves = run / metrics.CURVES
    if os.path.lexists(curves):
        _show_arrays(metrics.CURVES, metrics.load_curves(curves), console)
    if not os.path.isdir(run / checkpoints.DIRECTORY / "best"):
        console.print("no checkpoint yet")
        return
    step, tree = checkpoints.load_best(run)
    _show_arrays(checkpoints.best_path(step), tree, console)


def _show_arrays(name: str, tree: dict[str, Any], console: Console) -> None:
    say(console, f"{name} ({readable_bytes(tree_bytes(tree))}):")
    table = Table("array", "shape", "type")
    for keys, leaf in jax.tree_util.tree_leaves_with_path(tree):
        table.add_row(Text(printable("/".join(str(key.key) for key in keys))), str(leaf.shape), str(leaf.dtype))
    console.print(table)


def _show_drone(file: files.DroneFile, console: Console) -> None:
    dynamics = file.drone.dynamics
    say(
        console,
        f"{file.path}: thrust-to-weight {parameters.thrust_to_weight(dynamics):.3f},"
        f" torque-to-inertia {parameters.torque_to_inertia(dynamics):.1f} 1/s^2",
    )
    table = Table("parameter", "value", "unit")
    _add_fields(table, file.drone, "")
    console.print(table)


def _add_fields(table: Table, group: Any, prefix: str) -> None:
    for field in dataclasses.fields(group):
        value, name = getattr(group, field.name), f"{prefix}{field.name}"
        specification = parameters.field_specification(field)
        if specification is None:
            _add_fields(table, value, f"{name}.")
        else:
            text = np.array2string(np.asarray(value), precision=6, separator=", ")
            table.add_row(name, text.replace("\n", ""), specification.unit)
