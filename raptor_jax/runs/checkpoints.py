"""Checkpoints on disk; the only module that imports orbax.

    checkpoints/config.yaml              the settings of the run
    checkpoints/dynamics/0000.json ...   the drones under their own names; numbers in order are the teacher axis
    checkpoints/best/STEP/default        the kept actor of each teacher, with the critics and the alpha that it had
    checkpoints/latest/STEP/default      all that learns, as it was at STEP
    checkpoints/latest/STEP/notes        JSON: where the run stood, and its results so far

Every array has a name and, but for counters (`flown`, `updates`, `replay.cursor`, `replay.filled`), the teacher axis
first, in the order of the checkpoint's own `teacher_id`: a rescue round trains some of the teachers, and the last of
them repeats where the devices would not share them evenly. Plain Orbax opens a checkpoint without this package, as
nested dictionaries of NumPy arrays.

The notes hold a digest of everything that was saved with them: a flipped bit in an array, or in a number of the notes,
would otherwise be read back as if it had been learned.
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from raptor_jax import sac
from raptor_jax.errors import UserError, first_line
from raptor_jax.population.best import Best
from raptor_jax.population.state import Population
from raptor_jax.utils.trees import tree_bytes

KEPT = 2
"""Checkpoints of each kind on disk, so that a whole one is left while the next is written."""

DIRECTORY = "checkpoints"


class Writer:
    """Writes the checkpoints of a run, in the background; `close` waits for the last one."""

    def __init__(self, output_dir: Path, teacher_ids: Sequence[int]) -> None:
        """Opens `output_dir`/checkpoints for the teachers with these identities, [T]."""
        self._teacher_ids = np.asarray(teacher_ids, np.int32)
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, create=True)
        self._root = (output_dir / DIRECTORY).absolute()
        with self._told():
            self._latest, self._best = (
                ocp.CheckpointManager(self._root / kind, options=options) for kind in ("latest", "best")
            )

    def forget_after(self, step: int) -> None:
        """Deletes what is newer than the checkpoint that a run goes on from: it was not whole, or not a pair."""
        with self._told():
            for manager in (self._latest, self._best):
                for newer in manager.all_steps():
                    if newer > step:
                        manager.delete(newer)

    def save(
        self,
        step: int,
        best: Best,
        population: Population,
        teacher_ids: np.ndarray,
        with_replay: bool,
        notes: dict[str, Any],
    ) -> None:
        """Saves what is kept of all teachers and, in the background, the population that is being trained.

        Args:
            step: environment steps of a teacher.
            best: of all T teachers.
            population: R' teachers on the devices.
            teacher_ids: [R'] their identities.
            with_replay: whether the replay is saved too.
            notes: what JSON can hold of where the run stands.
        """
        networks = {"actor": layers(best.actor), "critic": layers(best.critic)}
        kept = {**vars(best), **networks, "teacher_id": self._teacher_ids}
        kept = jax.tree.map(np.array, kept)
        learning = {**_copied(learning_of(population, with_replay)), "teacher_id": teacher_ids}
        # A copy: the run changes its results while orbax still writes.
        notes = json.loads(json.dumps(notes))
        digests = {"best": _digest(kept), "notes": _digest(notes)}
        if jax.process_count() == 1:
            # Of several processes none has all of it.
            digests["latest"] = _digest(learning)
        notes = {**notes, "digests": digests}
        with self._told():
            # One after the other: of several processes, two savings at once would wait at each other's barriers.
            self._latest.wait_until_finished()
            self._best.save(step, args=ocp.args.StandardSave(kept))
            self._best.wait_until_finished()
            self._latest.save(
                step,
                args=ocp.args.Composite(default=ocp.args.StandardSave(learning), notes=ocp.args.JsonSave(notes)),
            )

    def wait(self) -> None:
        """Waits until everything is on disk."""
        with self._told():
            for manager in (self._latest, self._best):
                manager.wait_until_finished()

    def close(self) -> None:
        """Waits until everything is on disk, and lets go of it."""
        with self._told():
            for manager in (self._latest, self._best):
                manager.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Tells of a checkpoint that cannot be written in one line; what orbax raises depends on where it failed."""
        try:
            yield
        except (ValueError, OSError, RuntimeError) as error:
            raise UserError(
                f"{self._root}: a checkpoint cannot be written: {first_line(error)}; the one before is whole: make room"
                " and go on with --resume"
            ) from None


def _copied(tree: Any) -> Any:
    """Copies arrays, for the next chunk overwrites the donated ones while orbax still writes.

    One process copies to its own memory: orbax would, too, and what it writes from there opens on any devices.
    """
    if jax.process_count() > 1:
        return jax.tree.map(jnp.copy, tree)
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), tree)


def best_path(step: int) -> str:
    """Returns where a run keeps the best actors that it saved at a step, relative to its output directory."""
    return f"{DIRECTORY}/best/{step}/default"


def layers(network: sac.Parameters) -> dict[str, Any]:
    """Returns a network's weights as {layer: {kernel, bias}}."""
    return network["params"]["mlp"]


def learning_of(population: Population, with_replay: bool) -> dict[str, Any]:
    """Returns what is saved of a population, as nested dictionaries of arrays."""
    tree = flax.serialization.to_state_dict(population.replace(keys=jax.random.key_data(population.keys)))
    if not with_replay or population.replay is None:
        del tree["replay"]
    return tree


def put_back(population: Population, tree: dict[str, Any]) -> Population:
    """Returns a population with everything that a tree of `learning_of` holds; what it lacks stays."""
    whole = {**flax.serialization.to_state_dict(population), **tree}
    restored = flax.serialization.from_state_dict(population, whole)
    return restored.replace(keys=jax.random.wrap_key_data(restored.keys))


def resumable_steps(output_dir: Path) -> list[int]:
    """Returns the steps, newest first, of which both kinds of checkpoint were finished."""
    latest, best = (_steps(output_dir / DIRECTORY / kind) for kind in ("latest", "best"))
    return sorted(set(latest) & set(best), reverse=True)


def load_notes(output_dir: Path, step: int) -> dict[str, Any]:
    """Returns the notes of a checkpoint. Raises UserError where it is not whole."""
    return _read_notes(output_dir / DIRECTORY / "latest" / str(step) / "notes")


def load_learning(output_dir: Path, step: int) -> dict[str, Any]:
    """Returns what `Writer.save` kept of a population, as NumPy arrays [R', ...], on whatever devices it was.

    Raises:
        UserError: it is not whole.
    """
    path = output_dir / DIRECTORY / "latest" / str(step)
    tree = _read(path, _digest_beside(path))
    tree.pop("teacher_id", None)
    return tree


def load_best(output_dir: Path, step: int | None = None) -> tuple[int, dict[str, Any]]:
    """Returns the step and the tree of a checkpoint of the kept actors.

    Args:
        output_dir: of the run.
        step: of the checkpoint; None for the newest.

    Raises:
        UserError: there is none, or it is not whole.
    """
    directory = output_dir / DIRECTORY / "best"
    steps = _steps(directory) if step is None else [step]
    if not steps:
        raise UserError(f"{directory}: holds no checkpoint; name the output directory of a run")
    path = directory / str(steps[0])
    tree = _read(path, _digest_beside(path))
    if problem := _problem_of(tree):
        raise UserError(f"{path}: not the kept actors of a run: {problem}; restore the files of the run")
    return steps[0], tree


class Examined(NamedTuple):
    """A checkpoint of one kind as it lies on disk, in DIRECTORY/KIND/STEP."""

    arrays: dict[str, jax.ShapeDtypeStruct]
    """By name; {} where not even that can be read."""
    tree: dict[str, Any] | None
    """NumPy arrays; None where they were not read."""
    has_digest: bool
    """Whether there was a digest to compare them with."""
    problem: str | None
    """What keeps it from being whole."""


def examine(path: Path, most_bytes: int) -> Examined:
    """Looks at a checkpoint of either kind, DIRECTORY/KIND/STEP; reads its arrays if they are at most so many bytes."""
    arrays: dict[str, jax.ShapeDtypeStruct] = {}
    digest = _digest_beside(path)
    has_digest = digest is not None
    try:
        with _whole(path / "default"), ocp.StandardCheckpointer() as checkpointer:
            for keys, leaf in jax.tree.leaves_with_path(_target(checkpointer, path / "default")):
                arrays["/".join(str(key.key) for key in keys)] = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        return Examined(arrays, _read(path, digest) if tree_bytes(arrays) <= most_bytes else None, has_digest, None)
    except UserError as error:
        return Examined(arrays, None, has_digest, str(error))


def _read(path: Path, digest: str | None) -> dict[str, Any]:
    """Returns the tree of DIRECTORY/KIND/STEP as NumPy arrays, on whatever devices it was saved."""
    with _whole(path / "default"), ocp.StandardCheckpointer() as checkpointer:
        tree = checkpointer.restore((path / "default").absolute(), target=_target(checkpointer, path / "default"))
        if digest is not None:
            _require_digest(tree, digest)
        return tree


def _target(checkpointer: ocp.StandardCheckpointer, path: Path) -> dict[str, Any]:
    """Returns arrays of a checkpoint's shapes and types, without devices; they take no memory."""
    found = dict(checkpointer.metadata(path.absolute()).item_metadata)
    return jax.tree.map(lambda leaf: np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape), found)


def _digest_beside(path: Path) -> str | None:
    """Returns the digest of DIRECTORY/KIND/STEP, which the notes of that step hold; None where no whole notes do."""
    notes = path.absolute().parents[1] / "latest" / path.name / "notes"
    try:
        return _read_notes(notes)["digests"].get(path.absolute().parent.name) if os.path.isdir(notes) else None
    except UserError:
        return None


def _read_notes(path: Path) -> dict[str, Any]:
    with _whole(path):
        with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as checkpointer:
            notes = checkpointer.restore(path.absolute())
        digests = notes.pop("digests")
        _require_digest(notes, digests["notes"])
        return {**notes, "digests": digests}


def actor_of(tree: dict[str, Any]) -> sac.Parameters:
    """Returns the weights of a tree of `load_best` as the networks take them, each [T, ...]."""
    return _network(tree["actor"])


def best_of(tree: dict[str, Any]) -> Best:
    """Returns a tree of `load_best` as what is kept of a population."""
    scalars = {name: tree[name] for name in ("alpha", "mean_return", "std_return", "step")}
    return Best(actor=_network(tree["actor"]), critic=_network(tree["critic"]), **scalars)


def _network(layers: dict[str, Any]) -> sac.Parameters:
    return {"params": {"mlp": layers}}


def estimated_bytes(best: Best, learner_bytes: int) -> int:
    """Returns the disk that the checkpoints of a run need, those being written included."""
    return (KEPT + 1) * (tree_bytes(best) + learner_bytes)


def _steps(directory: Path) -> list[int]:
    """Returns the steps of a kind of checkpoint, newest first; orbax renames a directory when it is finished."""
    return sorted((int(path.name) for path in directory.glob("[0-9]*") if path.name.isdecimal()), reverse=True)


def _digest(tree: Any) -> str:
    """Returns the SHA-256 of a tree of arrays, numbers and texts, of their types and of their places in the tree."""
    found = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(tree):
        array = np.asarray(leaf, order="C")
        content = json.dumps(leaf).encode() if array.dtype.kind == "U" else array.data
        found.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        found.update(content)
    return found.hexdigest()


def _require_digest(tree: Any, digest: str) -> None:
    if _digest(tree) != digest:
        raise ValueError("what it holds is not what was saved")


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Tells of a checkpoint that cannot be read in one line."""
    # Orbax would wait for ever for somebody to write into a pipe.
    if strange := [inner for inner in path.rglob("*") if inner.exists() and not (inner.is_file() or inner.is_dir())]:
        raise UserError(f"{strange[0]}: is neither a file nor a directory; restore the files of the run")
    _silence_unread_arrays()
    reason = ""
    # What orbax warns of when it gives up is what it raises.
    with warnings.catch_warnings(action="ignore"):
        try:
            yield
        # A damaged file fails in any of the parsers that orbax hands it to, C++ included.
        except Exception as error:
            reason = first_line(error)[:200]
    if reason:
        raise UserError(f"{path}: not a whole checkpoint: {reason}; restore the files of the run")


def _problem_of(tree: Any) -> str | None:
    """Returns what keeps a tree from being what `Writer.save` keeps of T teachers; None if nothing does."""
    vectors = {"alpha": "f", "mean_return": "f", "std_return": "f", "step": "i", "teacher_id": "i"}
    networks: tuple[str, ...] = ("actor", "critic")
    if isinstance(tree, dict) and not tree.keys() & {"alpha", "critic"}:
        # Version 0.1 kept the actor alone.
        del vectors["alpha"]
        networks = ("actor",)
    if not isinstance(tree, dict) or tree.keys() != {*vectors, *networks}:
        return f"it should hold actor, critic, {', '.join(vectors)}"
    teachers = np.shape(tree["teacher_id"])
    for name, kind in vectors.items():
        array = tree[name]
        if len(teachers) != 1 or np.shape(array) != teachers or np.asarray(array).dtype.kind != kind:
            return f"{name} should be one number for each teacher"
    for name in networks:
        if any(np.asarray(leaf).dtype != np.float32 for leaf in jax.tree.leaves(tree[name])):
            return f"the {name}'s weights should be float32"
    return None


@functools.cache
def _silence_unread_arrays() -> None:
    """Keeps asyncio and tensorstore from telling of each array that was still being read when another one failed."""
    report = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            report(unraisable)

    sys.unraisablehook = hook
    logging.getLogger("asyncio").addFilter(lambda record: "was never retrieved" not in record.getMessage())
