"""What a run, a checkpoint or a file of ours holds, as JSON has it; arrays are told of, and not copied."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from raptor_jax.drones import files
from raptor_jax.errors import UserError
from raptor_jax.inspection.drone import describe_drone
from raptor_jax.runs import checkpoints, layout, results, stored_config, warm_start
from raptor_jax.runs.curves import load_curves
from raptor_jax.utils.files import json_number

_READ_IN_PASSING = 1 << 30
"""Bytes of a checkpoint that are read to see whether it is whole where a whole run was asked for."""


def describe(path: Path) -> dict[str, Any]:
    """Returns what a path holds; `kind` says what it is.

    Every kind has `path`. Of a "run": `run` and `teachers` of results.json, `arrays` of the curves and `checkpoints`,
    the newest kept actors with their `arrays` and `kept`. Of "checkpoints": these and the `config` beside them, with
    `arrays` and `kept` where one alone was asked for. Of a "start", which an exported teacher is too: `arrays` and
    `provenance`. Of "curves": `arrays`. Of a "drone": see `describe_drone`.

    Raises:
        UserError: it holds nothing of ours, or what a reader of it needs is damaged.
    """
    if not os.path.isdir(path):
        return _describe_file(path)
    if os.path.lexists(path / layout.RESULTS):
        return _describe_run(path)
    steps = _checkpoints_in(path)
    if not steps:
        raise UserError(
            f"{path}: holds no {layout.RESULTS} and no checkpoint; name a run, its checkpoints or a file of ours"
        )
    one = len(steps) == 1
    # One that was asked for is read for as long as there is memory for it.
    most = psutil.virtual_memory().available // 2 if one else _READ_IN_PASSING
    settings = steps[0].parents[1] / layout.CONFIG
    return {
        "kind": "checkpoints",
        "path": str(path),
        "checkpoints": [_describe_checkpoint(step, most, with_kept=one) for step in steps],
        "config": stored_config.load(settings).model_dump() if os.path.lexists(settings) else None,
    }


def describe_teacher(path: Path, teacher: int) -> dict[str, Any]:
    """Returns what a run says of a teacher: its `result`, its `drone`, its curves `evaluation` and `training`.

    Args:
        path: the output directory of a run, or anything in it.
        teacher: its `teacher_id`.

    Raises:
        UserError: there is no such run or teacher, or its files do not fit together.
    """
    absolute = path.absolute()
    inside = (place for place in (absolute, *absolute.parents) if os.path.lexists(place / layout.RESULTS))
    run = next(inside, path)
    found = results.read(run / layout.RESULTS).content()
    ids = [entry["teacher_id"] for entry in found["teachers"]]
    results.require_teacher(run, ids, teacher)
    row = ids.index(teacher)
    drones = files.load_directory(layout.drones(run))
    curves = _curves_in(run)
    if len(drones) != len(ids) or (curves and curves["teacher_id"].tolist() != ids):
        raise UserError(f"{run}: its teachers, drones and curves are not of one run; restore its files")
    return {
        "kind": "teacher",
        "path": str(run),
        "result": found["teachers"][row],
        "pass_return": found["run"]["config"]["training"]["pass_return"],
        "drone": describe_drone(drones[row]),
        "evaluation": _curves_of(curves, "eval", row),
        "training": _curves_of(curves, "train", row),
    }


def _describe_file(path: Path) -> dict[str, Any]:
    if path.name == layout.CURVES:
        curves = load_curves(path)
        return {"kind": "curves", "path": str(path), "arrays": _arrays(curves)}
    if path.suffix == ".npz":
        arrays, provenance = warm_start.read(path)
        return {"kind": "start", "path": str(path), "arrays": _arrays(arrays), "provenance": provenance}
    if path.name == layout.RESULTS:
        return _describe_run(path.parent)
    return {"kind": "drone", **describe_drone(files.load_drone(files.find_drone(path)))}


def _describe_run(run: Path) -> dict[str, Any]:
    found = results.read(run / layout.RESULTS).content()
    curves = _curves_in(run)
    steps = _checkpoints_in(run / layout.CHECKPOINTS)
    newest = max(
        (step for step in steps if step.parent.name == layout.BEST), key=lambda step: int(step.name), default=None
    )
    return {
        "kind": "run",
        "path": str(run),
        "run": found["run"],
        "teachers": found["teachers"],
        "arrays": _arrays(curves),
        "checkpoints": [_describe_checkpoint(step, _READ_IN_PASSING, with_kept=step == newest) for step in steps],
    }


def _curves_in(run: Path) -> dict[str, np.ndarray]:
    """Returns the curves of a run; {} before its first evaluation."""
    path = run / layout.CURVES
    return load_curves(path) if os.path.lexists(path) else {}


def _checkpoints_in(path: Path) -> list[Path]:
    """Returns the directories KIND/STEP that a path holds or lies in, by kind and step."""
    # A relative path need not show the names of the directories that it lies in.
    path = path.absolute()
    if path.name in (layout.ARRAYS, layout.NOTES):
        path = path.parent
    if path.parent.name in layout.KINDS and path.name.isdecimal():
        return [path]
    kinds = [path] if path.name in layout.KINDS else [path / kind for kind in layout.KINDS]
    found = (sorted(kind.glob("[0-9]*"), key=lambda step: (len(step.name), step.name)) for kind in kinds)
    return [step for of_kind in found for step in of_kind if step.name.isdecimal()]


def _describe_checkpoint(path: Path, most_bytes: int, with_kept: bool) -> dict[str, Any]:
    """Returns what lies in KIND/STEP; `whole` is None where that is not known, because it was not read."""
    found = checkpoints.examine(path, most_bytes)
    arrays = _arrays(found.arrays)
    teachers = getattr(found.arrays.get("teacher_id"), "shape", ())
    about = {
        "of": path.parent.name,
        "step": int(path.name),
        "path": str(path),
        "teachers": teachers[0] if teachers else None,
        "bytes": sum(array["bytes"] for array in arrays),
        "whole": False if found.problem else None if found.tree is None else True,
        "has_digest": found.has_digest,
        "problem": found.problem,
    }
    if not with_kept:
        return about
    tree = found.tree or {}
    vectors = {name: leaf for name, leaf in tree.items() if isinstance(leaf, np.ndarray) and leaf.ndim <= 1}
    return {**about, "arrays": arrays, "kept": {name: _plain(leaf) for name, leaf in vectors.items()}}


def _arrays(arrays: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns name, shape, type and bytes of arrays, or of what has their shapes."""
    return [
        {
            "name": name,
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "bytes": int(np.prod(array.shape, dtype=object)) * array.dtype.itemsize,
        }
        for name, array in arrays.items()
    ]


def _curves_of(curves: Mapping[str, np.ndarray], group: str, row: int) -> dict[str, Any]:
    """Returns the curves of one teacher at the points where it has any: `step`, and values by name."""
    prefix = f"{group}_"
    own = {name.removeprefix(prefix): array for name, array in curves.items() if name.startswith(prefix)}
    columns = {name: array if name == "step" else array[:, row] for name, array in own.items()}
    values = [column for name, column in columns.items() if name != "step"]
    reported = np.any(np.isfinite(values), axis=0) if values else []
    return {name: _plain(column[reported]) for name, column in columns.items()}


def _plain(values: np.ndarray) -> Any:
    """Returns a number or a list of numbers as JSON has them: what is not finite is null."""
    plain = values.tolist()
    if values.dtype.kind != "f":
        return plain
    return [json_number(value) for value in plain] if values.ndim else json_number(plain)
