"""The output of `content` as text for the console."""

import json
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raptor_jax.config import Config
from raptor_jax.errors import printable
from raptor_jax.inspection.arrays import ArrayContent
from raptor_jax.inspection.content import CheckpointContent
from raptor_jax.inspection.drone import DroneContent, show_drone
from raptor_jax.runs import layout
from raptor_jax.runs.results_table import print_table
from raptor_jax.runs.teacher_result import TeacherResult
from raptor_jax.utils.console import readable_bytes, say

_MOST_POINTS = 20
"""Largest number of points of a curve that are shown."""


def show(found: dict[str, Any], console: Console) -> None:
    """Prints the result of `content.describe` or `content.describe_teacher`."""
    match found["kind"]:
        case "run":
            _show_run(found, console)
        case "checkpoints":
            _show_checkpoints(found, console)
        case "teacher":
            _show_teacher(found, console)
        case "student" | "exported":
            _show_policy(found, console)
        case "curves" | "start" | "teachers":
            _show_file(found, console)
        case "drone":
            show_drone(cast(DroneContent, found), console)


def _show_run(found: dict[str, Any], console: Console) -> None:
    about, teachers = found["run"], found["teachers"]
    say(console, f"{found['path']}: {about['status']}, step {about['step']:,}, {len(teachers)} teachers")
    print_table(
        [TeacherResult.model_validate(entry) for entry in teachers], about["config"]["training"]["pass_return"], console
    )
    _show_settings(about["config"], console)
    _show_arrays("curves", found["arrays"], console)
    if found["checkpoints"]:
        _show_all(found["checkpoints"], console)
    else:
        console.print("no checkpoint yet")


def _show_checkpoints(found: dict[str, Any], console: Console) -> None:
    say(console, f"{found['path']}:")
    if found["config"] is not None:
        _show_settings(found["config"], console)
    _show_all(found["checkpoints"], console)


def _show_all(found: Sequence[CheckpointContent], console: Console) -> None:
    """Prints a line for each checkpoint, and the arrays of those that list them."""
    table = Table("checkpoint", "step", "teachers", "size", "undamaged")
    for one in found:
        table.add_row(
            one["of"],
            f"{one['step']:,}",
            "-" if one["teachers"] is None else str(one["teachers"]),
            readable_bytes(one["bytes"]),
            _verdict(one),
        )
    console.print(table)
    for one in found:
        if "arrays" in one:
            _show_arrays(f"{one['of']}/{one['step']}/{layout.ARRAYS}", one["arrays"], console)
            _show_kept(one["kept"], console)


def _verdict(one: CheckpointContent) -> str:
    if one["whole"] is None:
        return "unknown: too large to verify here"
    if not one["whole"]:
        return "[red]no[/]"
    return "yes (digest verified)" if one["has_digest"] else "readable, without a digest"


def _show_settings(settings: dict[str, Any], console: Console) -> None:
    """Prints the settings that differ from the defaults."""
    defaults = Config().model_dump()
    differing = [
        f"{section}.{key} {value}"
        for section, keys in settings.items()
        if isinstance(keys, dict)
        for key, value in keys.items()
        if value != defaults.get(section, {}).get(key)
    ]
    say(console, f"settings that differ from the defaults: {', '.join(differing) or 'none'}")


def _show_arrays(name: str, arrays: Sequence[ArrayContent], console: Console) -> None:
    if not arrays:
        return
    say(console, f"{name} ({readable_bytes(sum(array['bytes'] for array in arrays))}):")
    table = Table("array", "shape", "type")
    table.add_column("bytes", justify="right")
    for array in arrays:
        shape = str(tuple(array["shape"]))
        table.add_row(Text(printable(array["name"])), shape, array["dtype"], f"{array['bytes']:,}")
    console.print(table)


def _show_kept(kept: dict[str, Any], console: Console) -> None:
    """Prints the counters of a checkpoint, and the evaluation returns of its actors."""
    counters = [f"{name} {value:,}" for name, value in kept.items() if isinstance(value, int)]
    returns = [value for value in kept.get("mean_return", ()) if value is not None]
    if counters:
        say(console, ", ".join(counters))
    if returns:
        say(
            console,
            f"best evaluated mean return of each actor: median {np.median(returns):.0f}, worst {min(returns):.0f},"
            f" best {max(returns):.0f}",
        )


def _show_teacher(found: dict[str, Any], console: Console) -> None:
    print_table([TeacherResult.model_validate(found["result"])], found["pass_return"], console)
    _show_curve(found["evaluation"], console)
    show_drone(found["drone"], console)


def _show_curve(curve: dict[str, list[Any]], console: Console) -> None:
    """Prints evaluations, evenly spaced if there are many."""
    points = len(curve.get("step", ()))
    if not points:
        console.print("no evaluation yet")
        return
    columns = [name for name in ("step", "reward", "episode_length", "share_terminated") if name in curve]
    table = Table(*(name.replace("_", " ") for name in columns), title=f"{points} evaluations")
    for point in np.unique(np.linspace(0, points - 1, min(points, _MOST_POINTS)).round().astype(int)):
        table.add_row(*(_cell(name, curve[name][point]) for name in columns))
    console.print(table)


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "not finite"
    return f"{value:,}" if name == "step" else f"{value:.2f}" if name == "share_terminated" else f"{value:.0f}"


def _show_policy(found: dict[str, Any], console: Console) -> None:
    policy = "a policy that is not from raptor_jax" if found["policy"] is None else f"a {found['policy']}"
    width = "" if found["width"] is None else f" with a width of {found['width']}"
    format = "" if found["kind"] == "student" else f" as {found['format']}"
    say(console, f"{found['path']}: {policy}{width}{format}, {found['parameters']:,} parameters")
    _show_file(found, console)


def _show_file(found: dict[str, Any], console: Console) -> None:
    _show_arrays(found["path"], found["arrays"], console)
    if found.get("provenance") is not None:
        say(console, f"provenance: {json.dumps(found['provenance'])[:2000]}")
