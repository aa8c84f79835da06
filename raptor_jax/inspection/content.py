"""The content of a run, a checkpoint or a file as JSON; arrays are described by name, shape and type."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import psutil

from raptor_jax.drones import files
from raptor_jax.errors import UserError
from raptor_jax.inspection.arrays import ArrayContent, describe_arrays
from raptor_jax.inspection.drone import describe_drone
from raptor_jax.inspection.policies import describe_exported, describe_student, is_exported
from raptor_jax.runs import checkpoints, layout, results, stored_config, student_file, warm_start
from raptor_jax.runs.curves import load_curves
from raptor_jax.utils.files import json_number

_LARGEST_VERIFIED = 1 << 30
"""Largest checkpoint in bytes that is read and verified when a whole run is inspected."""


class CheckpointContent(TypedDict):
    """A checkpoint in KIND/STEP."""

    of: str
    """KIND: best or latest."""
    step: int
    path: str
    teachers: int | None
    """None if it cannot be read."""
    bytes: int
    whole: bool | None
    """Whether it is undamaged; None if it was too large to be read and verified."""
    has_digest: bool
    problem: str | None
    """Why it is damaged."""
    arrays: NotRequired[list[ArrayContent]]
    kept: NotRequired[dict[str, Any]]
    """Its scalars and vectors [T]: values by name."""


def describe(path: Path) -> dict[str, Any]:
    """Returns the content of a path.

    Returns:
        `kind`, `path`, and by kind:
        "run": `run` and `teachers` of results.json; `arrays`, those of the curves; `checkpoints`, of which the newest
        with kept actors has `arrays` and `kept`.
        "checkpoints": `checkpoints`, with `arrays` and `kept` if the path is a single one; `config`, if it is there.
        "start", a warm start or an exported teacher: `arrays` and `provenance`.
        "teachers", all teachers of a run in one file: `arrays` and `provenance`.
        "student" and "exported": see `PolicyContent`.
        "curves": `arrays`.
        "drone": see `describe_drone`.

    Raises:
        UserError: the path has no raptor_jax content, or a required file is damaged.
    """
    if not os.path.isdir(path):
        return _describe_file(path)
    if os.path.lexists(path / layout.RESULTS):
        return _describe_run(path)
    if student_file.names_student(path):
        return {**describe_student(path)}
    steps = _checkpoints_in(path)
    if not steps:
        raise UserError(
            f"{path}: contains no {layout.RESULTS} and no checkpoint; name a run, its checkpoints or a raptor_jax file"
        )
    one = len(steps) == 1
    # A single checkpoint is read if it fits into memory.
    most = psutil.virtual_memory().available // 2 if one else _LARGEST_VERIFIED
    settings = steps[0].parents[1] / layout.CONFIG
    return {
        "kind": "checkpoints",
        "path": str(path),
        "checkpoints": [_describe_checkpoint(step, most, with_kept=one) for step in steps],
        "config": stored_config.load(settings).model_dump() if os.path.lexists(settings) else None,
    }


def describe_teacher(path: Path, teacher: int) -> dict[str, Any]:
    """Returns the `result` of a teacher of a run, its `drone`, and its curves `evaluation` and `training`.

    Args:
        path: the output directory of a run, or a path in it.
        teacher: its `teacher_id`.

    Raises:
        UserError: the run or the teacher does not exist, or the files of the run are inconsistent.
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
        raise UserError(f"{run}: teachers, drones and curves belong to different runs; restore the files")
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
        return {"kind": "curves", "path": str(path), "arrays": describe_arrays(curves)}
    if is_exported(path):
        return {**describe_exported(path)}
    if path.suffix == ".npz":
        if student_file.holds_student(path):
            return {**describe_student(path)}
        arrays, provenance = warm_start.read(path, "name a file that train-start or export wrote")
        kind = "teachers" if "teacher_id" in arrays else "start"
        return {"kind": kind, "path": str(path), "arrays": describe_arrays(arrays), "provenance": provenance}
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
        "arrays": describe_arrays(curves),
        "checkpoints": [_describe_checkpoint(step, _LARGEST_VERIFIED, with_kept=step == newest) for step in steps],
    }


def _curves_in(run: Path) -> dict[str, np.ndarray]:
    """Returns the curves of a run, {} before the first evaluation."""
    path = run / layout.CURVES
    return load_curves(path) if os.path.lexists(path) else {}


def _checkpoints_in(path: Path) -> list[Path]:
    """Returns the directories KIND/STEP that contain a path or are in it, by kind and step."""
    # A relative path may omit the names of its parent directories.
    path = path.absolute()
    if path.name in (layout.ARRAYS, layout.NOTES):
        path = path.parent
    if path.parent.name in layout.KINDS and path.name.isdecimal():
        return [path]
    kinds = [path] if path.name in layout.KINDS else [path / kind for kind in layout.KINDS]
    found = (sorted(kind.glob("[0-9]*"), key=lambda step: (len(step.name), step.name)) for kind in kinds)
    return [step for of_kind in found for step in of_kind if step.name.isdecimal()]


def _describe_checkpoint(path: Path, most_bytes: int, with_kept: bool) -> CheckpointContent:
    """Returns the content of KIND/STEP, with `arrays` and `kept` where these are requested."""
    found = checkpoints.examine(path, most_bytes)
    arrays = describe_arrays(found.arrays)
    teachers = found.arrays["teacher_id"].shape if "teacher_id" in found.arrays else ()
    about: CheckpointContent = {
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


def _curves_of(curves: Mapping[str, np.ndarray], group: str, row: int) -> dict[str, Any]:
    """Returns the curves of one teacher at the points where it has values: `step`, and values by name."""
    prefix = f"{group}_"
    own = {name.removeprefix(prefix): array for name, array in curves.items() if name.startswith(prefix)}
    columns = {name: array if name == "step" else array[:, row] for name, array in own.items()}
    values = [column for name, column in columns.items() if name != "step"]
    reported = np.any(np.isfinite(values), axis=0) if values else []
    return {name: _plain(column[reported]) for name, column in columns.items()}


def _plain(values: np.ndarray) -> Any:
    """Returns a number or a list of numbers for JSON, with None for values that are not finite."""
    plain = values.tolist()
    if values.dtype.kind != "f":
        return plain
    return [json_number(value) for value in plain] if values.ndim else json_number(plain)
