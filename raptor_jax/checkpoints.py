"""Checkpoints on disk; the only module that imports orbax.

    checkpoints/config.yaml              the settings of the run
    checkpoints/dynamics/0000.json ...   the drones under their own names; numbers in order are the teacher axis
    checkpoints/best/STEP/default        the kept actor of each teacher
    checkpoints/latest/STEP/default      all that learns, as it was at STEP (without the replay)

Every array has a name and, but for counters (`flown`, `updates`, `attempt`), the teacher axis first, in the order of
the checkpoint's own `teacher_id` (a rescue round trains some of the teachers). Plain Orbax opens a checkpoint without
this package, as nested dictionaries of NumPy arrays.
"""

import functools
import logging
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import numpy as np
import orbax.checkpoint as ocp

from raptor_jax import sac
from raptor_jax.errors import UserError, first_line
from raptor_jax.memory import tree_bytes
from raptor_jax.population.best import Best

KEPT = 2
"""Checkpoints of each kind on disk, so that a whole one is left while the next is written."""

DIRECTORY = "checkpoints"


class Writer:
    """Writes the checkpoints of a run, in the background; `close` waits for the last one."""

    def __init__(self, output_dir: Path, teacher_ids: Sequence[int]) -> None:
        """Opens `output_dir`/checkpoints for the teachers with these identities, [T]."""
        self._teacher_ids = np.asarray(teacher_ids, np.int32)
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, create=True)
        root = (output_dir / DIRECTORY).absolute()
        self._latest, self._best = (ocp.CheckpointManager(root / kind, options=options) for kind in ("latest", "best"))

    def save(self, step: int, best: Best, population: Any, rows: np.ndarray, attempt: int) -> None:
        """Saves, in the background, what is kept of all teachers and the population that is being trained.

        Args:
            step: environment steps of a teacher.
            best: of all T teachers.
            population: of either algorithm, R teachers.
            rows: [R] their places among the T.
            attempt: 0 in the main round, then the number of the rescue round.
        """
        kept = {**vars(best), "actor": layers(best.actor), "teacher_id": self._teacher_ids}
        self._best.save(step, args=ocp.args.StandardSave(_copied(kept)))
        learning = {**latest(population), "teacher_id": self._teacher_ids[rows], "attempt": np.int32(attempt)}
        self._latest.save(step, args=ocp.args.StandardSave(learning))

    def wait(self) -> None:
        """Waits until everything is on disk."""
        for manager in (self._latest, self._best):
            manager.wait_until_finished()

    def close(self) -> None:
        """Waits until everything is on disk, and lets go of it."""
        for manager in (self._latest, self._best):
            manager.close()


def best_path(step: int) -> str:
    """Returns where a run keeps the best actors that it saved at a step, relative to its output directory."""
    return f"{DIRECTORY}/best/{step}/default"


def layers(actor: sac.Parameters) -> dict[str, Any]:
    """Returns an actor's weights as {layer: {kernel, bias}}."""
    return actor["params"]["mlp"]


def latest(population: Any) -> dict[str, Any]:
    """Returns all that a population of either algorithm holds but its replay, as nested dictionaries of arrays."""
    tree = flax.serialization.to_state_dict(population.replace(keys=jax.random.key_data(population.keys)))
    tree.pop("replay", None)
    return _copied(tree)


def _copied(tree: Any) -> Any:
    # A copy, not a view: the next chunk overwrites the donated arrays while orbax still writes.
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), tree)


def load_best(output_dir: Path) -> tuple[int, dict[str, Any]]:
    """Returns the step and the tree of the newest whole checkpoint of the kept actors.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    directory = output_dir / DIRECTORY / "best"
    steps = sorted((int(path.name) for path in directory.glob("[0-9]*") if path.name.isdecimal()), reverse=True)
    if not steps:
        raise UserError(f"{directory}: holds no checkpoint; name the output directory of a run")
    path = output_dir / best_path(steps[0])
    # Orbax would wait for ever for somebody to write into a pipe.
    if strange := [inner for inner in path.rglob("*") if inner.exists() and not (inner.is_file() or inner.is_dir())]:
        raise UserError(f"{strange[0]}: is neither a file nor a directory; restore the files of the run")
    _silence_unread_arrays()
    tree: Any = None
    reason = ""
    # What orbax warns of when it gives up is what it raises.
    with warnings.catch_warnings(action="ignore"):
        try:
            with ocp.StandardCheckpointer() as checkpointer:
                tree = checkpointer.restore(path.absolute())
        # A damaged file fails in any of the parsers that orbax hands it to, C++ included.
        except Exception as error:
            reason = first_line(error)[:200]
    if reason:
        raise UserError(f"{path}: not a whole checkpoint: {reason}; restore the files of the run")
    if problem := _problem_of(tree):
        raise UserError(f"{path}: not the kept actors of a run: {problem}; restore the files of the run")
    return steps[0], tree


def _problem_of(tree: Any) -> str | None:
    """Returns what keeps a tree from being what `Writer.save` keeps of T teachers; None if nothing does."""
    vectors = {"mean_return": "f", "std_return": "f", "step": "i", "teacher_id": "i"}
    if not isinstance(tree, dict) or tree.keys() != {*vectors, "actor"}:
        return f"it should hold actor, {', '.join(vectors)}"
    teachers = np.shape(tree["teacher_id"])
    for name, kind in vectors.items():
        array = tree[name]
        if len(teachers) != 1 or np.shape(array) != teachers or np.asarray(array).dtype.kind != kind:
            return f"{name} should be one number for each teacher"
    if any(np.asarray(leaf).dtype != np.float32 for leaf in jax.tree.leaves(tree["actor"])):
        return "the actor's weights should be float32"
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


def actor_of(tree: dict[str, Any]) -> sac.Parameters:
    """Returns the weights of a tree of `load_best` as the networks take them, each [T, ...]."""
    return {"params": {"mlp": tree["actor"]}}


def estimated_bytes(best: Best, learner_bytes: int) -> int:
    """Returns the disk that the checkpoints of a run need, those being written included."""
    return (KEPT + 1) * (tree_bytes(best) + learner_bytes)
