"""Reads the checkpoints of a run, and finds damaged ones."""

import contextlib
import functools
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp

from raptor_jax.errors import UserError, first_line
from raptor_jax.runs import layout
from raptor_jax.runs.checkpoints.content import Notes, StudentNotes, problem_of_best, require_digest
from raptor_jax.utils.trees import tree_bytes

_Notes = TypeVar("_Notes", Notes, StudentNotes)


def resumable_steps(output_dir: Path) -> list[int]:
    """Returns the steps, newest first, at which both kinds of checkpoint were finished."""
    latest, best = (_steps(layout.checkpoints(output_dir, kind)) for kind in (layout.LATEST, layout.BEST))
    return sorted(set(latest) & set(best), reverse=True)


def load_notes(output_dir: Path, step: int, kind: type[_Notes]) -> _Notes:
    """Returns the notes of a checkpoint, which are of this kind. Raises UserError if they are damaged."""
    path = layout.checkpoint(output_dir, layout.LATEST, step) / layout.NOTES
    notes, _ = _read_notes(path)
    if missing := [name for name in kind._fields if name not in notes and name not in kind._field_defaults]:
        raise UserError(f"{path}: not the notes of a checkpoint: {missing[0]} is missing; restore the files of the run")
    return kind(**{name: notes[name] for name in kind._fields if name in notes})


def load_latest(output_dir: Path, step: int) -> dict[str, Any]:
    """Returns the saved population as NumPy arrays [R', ...], whatever devices it was on.

    Raises:
        UserError: it is damaged.
    """
    tree = _read(layout.checkpoint(output_dir, layout.LATEST, step))
    tree.pop("teacher_id", None)
    return tree


def load_best(output_dir: Path, step: int | None = None) -> tuple[int, dict[str, Any]]:
    """Returns the step and the tree of a checkpoint of the kept actors.

    Args:
        output_dir: output directory of the run.
        step: step of the checkpoint; None for the newest.

    Raises:
        UserError: there is none, or it is damaged.
    """
    directory = layout.checkpoints(output_dir, layout.BEST)
    steps = _steps(directory) if step is None else [step]
    if not steps:
        raise UserError(f"{directory}: holds no checkpoint; name the output directory of a run")
    path = directory / str(steps[0])
    tree = _read(path)
    if problem := problem_of_best(tree):
        raise UserError(f"{path}: not the kept actors of a run: {problem}; restore the files of the run")
    return steps[0], tree


def load_kept_student(output_dir: Path, step: int) -> dict[str, Any]:
    """Returns the tree of the kept student in a checkpoint. Raises UserError if it is damaged."""
    return _read(layout.checkpoint(output_dir, layout.BEST, step))


class Examined(NamedTuple):
    """What was found in one checkpoint, CHECKPOINTS/KIND/STEP."""

    arrays: dict[str, jax.ShapeDtypeStruct]
    """By name; {} if the metadata cannot be read."""
    tree: dict[str, Any] | None
    """NumPy arrays; None if they were not read."""
    has_digest: bool
    """Whether there was a digest with which to compare the arrays."""
    problem: str | None
    """Why the checkpoint is damaged; None if no damage was found."""


def examine(path: Path, most_bytes: int) -> Examined:
    """Examines a checkpoint of either kind, CHECKPOINTS/KIND/STEP; reads its arrays up to the given size."""
    arrays: dict[str, jax.ShapeDtypeStruct] = {}
    has_digest = _saved_digest(path) is not None
    try:
        with _damage_reported(path / layout.ARRAYS), ocp.StandardCheckpointer() as checkpointer:
            for keys, leaf in jax.tree.leaves_with_path(_target(checkpointer, path / layout.ARRAYS)):
                arrays["/".join(str(key.key) for key in keys)] = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        return Examined(arrays, _read(path) if tree_bytes(arrays) <= most_bytes else None, has_digest, None)
    except UserError as error:
        return Examined(arrays, None, has_digest, str(error))


def _steps(directory: Path) -> list[int]:
    """Returns the steps of a kind of checkpoint, newest first; orbax renames a directory when it is finished."""
    return sorted((int(path.name) for path in directory.glob("[0-9]*") if path.name.isdecimal()), reverse=True)


def _read(path: Path) -> dict[str, Any]:
    """Returns the tree of CHECKPOINTS/KIND/STEP as NumPy arrays, whatever devices it was saved from."""
    digest, arrays = _saved_digest(path), path / layout.ARRAYS
    with _damage_reported(arrays), ocp.StandardCheckpointer() as checkpointer:
        tree = checkpointer.restore(arrays.absolute(), target=_target(checkpointer, arrays))
        if digest is not None:
            require_digest(tree, digest)
        return tree


def _target(checkpointer: ocp.StandardCheckpointer, path: Path) -> dict[str, Any]:
    """Returns arrays of a checkpoint's shapes and types, on no device; they take no memory."""
    found = dict(checkpointer.metadata(path.absolute()).item_metadata)
    return jax.tree.map(lambda leaf: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape), found)


def _saved_digest(path: Path) -> str | None:
    """Returns the digest of CHECKPOINTS/KIND/STEP from the notes of that step; None if they are missing or damaged."""
    kind, checkpoints = path.absolute().parent.name, path.absolute().parents[1]
    notes = checkpoints / layout.LATEST / path.name / layout.NOTES
    try:
        return _read_notes(notes)[1].get(kind) if os.path.isdir(notes) else None
    except UserError:
        return None


def _read_notes(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns notes, compared with their digest, and the digests of the arrays of that step."""
    with _damage_reported(path):
        with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as checkpointer:
            notes = checkpointer.restore(path.absolute())
        digests = notes.pop("digests")
        require_digest(notes, digests[layout.NOTES])
        return notes, digests


@contextlib.contextmanager
def _damage_reported(path: Path) -> Iterator[None]:
    """Converts read errors to a one-line UserError."""
    # Orbax would wait forever for data from a pipe.
    if strange := [inner for inner in path.rglob("*") if inner.exists() and not (inner.is_file() or inner.is_dir())]:
        raise UserError(f"{strange[0]}: is neither a file nor a directory; restore the files of the run")
    _silence_abandoned_reads()
    reason = ""
    # When orbax fails, it raises the error of which it has just warned.
    with warnings.catch_warnings(action="ignore"):
        try:
            yield
        # A damaged file fails in any of the parsers that orbax uses, C++ included.
        except Exception as error:
            reason = first_line(error)[:200]
    if reason:
        raise UserError(f"{path}: damaged checkpoint: {reason}; restore the files of the run")


@functools.cache
def _silence_abandoned_reads() -> None:
    """Suppresses what asyncio and tensorstore print about arrays that were being read when another one failed."""
    report = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            report(unraisable)

    sys.unraisablehook = hook
    logging.getLogger("asyncio").addFilter(lambda record: "was never retrieved" not in record.getMessage())
