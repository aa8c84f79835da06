"""Saves the checkpoints of a run, in the background."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from raptor_jax.errors import UserError, first_line
from raptor_jax.runs import layout
from raptor_jax.runs.checkpoints.content import Notes, StudentNotes, digest

KEPT = 2
"""Number of checkpoints of each kind on disk, so that an undamaged one exists while the next is written."""


class Writer:
    """Writes the checkpoints of a run in the background; `close` waits for the last one."""

    def __init__(self, output_dir: Path) -> None:
        """Opens the checkpoints of a run."""
        options = ocp.CheckpointManagerOptions(max_to_keep=KEPT, create=True)
        self._root = (output_dir / layout.CHECKPOINTS).absolute()
        with self._failures_reported():
            self._latest, self._best = (
                ocp.CheckpointManager(self._root / kind, options=options) for kind in (layout.LATEST, layout.BEST)
            )

    def delete_after(self, step: int) -> None:
        """Deletes every checkpoint newer than the one from which a run resumes: they are damaged or incomplete."""
        with self._failures_reported():
            for manager in (self._latest, self._best):
                for newer in manager.all_steps():
                    if newer > step:
                        manager.delete(newer)

    def save(self, step: int, kept: dict[str, Any], latest: dict[str, Any], notes: Notes | StudentNotes) -> None:
        """Saves the kept actors and, in the background, the state of the training.

        Args:
            step: number of the checkpoint.
            kept: nested dictionaries of NumPy arrays.
            latest: nested dictionaries of arrays on the devices.
            notes: the state of the run besides its arrays.
        """
        latest = _copied(latest)
        # A copy: the run changes its results while orbax still writes.
        plain = json.loads(json.dumps(notes._asdict()))
        digests = {layout.BEST: digest(kept), layout.NOTES: digest(plain)}
        if jax.process_count() == 1:
            # With several processes, none has all arrays of the population.
            digests[layout.LATEST] = digest(latest)
        with self._failures_reported():
            # One after the other: in several processes, two concurrent saves would block at each other's barriers.
            self._latest.wait_until_finished()
            self._best.save(step, args=ocp.args.StandardSave(kept))
            self._best.wait_until_finished()
            arguments = {
                layout.ARRAYS: ocp.args.StandardSave(latest),
                layout.NOTES: ocp.args.JsonSave({**plain, "digests": digests}),
            }
            self._latest.save(step, args=ocp.args.Composite(**arguments))

    def wait(self) -> None:
        """Waits until everything is on disk."""
        with self._failures_reported():
            for manager in (self._latest, self._best):
                manager.wait_until_finished()

    def close(self) -> None:
        """Waits until everything is on disk, and closes the checkpoint managers."""
        with self._failures_reported():
            for manager in (self._latest, self._best):
                manager.close()

    @contextlib.contextmanager
    def _failures_reported(self) -> Iterator[None]:
        """Converts write errors to a one-line UserError; what Orbax raises depends on where it failed."""
        try:
            yield
        except (ValueError, OSError, RuntimeError) as error:
            raise UserError(
                f"{self._root}: a checkpoint cannot be written: {first_line(error)}; finished checkpoints are"
                " undamaged: make room and continue with --resume"
            ) from None


def _copied(tree: Any) -> Any:
    """Copies arrays, because the next chunk overwrites the donated ones while orbax still writes.

    One process copies to host memory: orbax would do so anyway, and arrays from there open on any devices.
    """
    if jax.process_count() > 1:
        # A copy of a NumPy array would be on one device, which orbax refuses.
        return jax.tree.map(lambda leaf: jnp.copy(leaf) if isinstance(leaf, jax.Array) else leaf, tree)
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), tree)


def estimated_bytes(best_bytes: int, latest_bytes: int) -> int:
    """Returns the disk space that the checkpoints of a run need, including one of each kind in progress."""
    return (KEPT + 1) * (best_bytes + latest_bytes)
