"""A teacher for export: its actor, its drone and their provenance."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.drones.files import DroneFile
from raptor_jax.errors import UserError, first_line
from raptor_jax.runs import checkpoints, layout
from raptor_jax.runs.kept import load_kept
from raptor_jax.runs.results import read, require_teacher
from raptor_jax.simulator import ACTION_DIM

_deterministic_action = jax.jit(sac.deterministic_action, static_argnums=0)


class Teacher(NamedTuple):
    """The best actor of a teacher."""

    teacher_id: int
    config: Config
    """The settings of its training."""
    actor: sac.Parameters
    """The weights, on the host."""
    drone_file: DroneFile
    provenance: dict[str, Any]
    """`teacher`: its entry of results.json, with the drone's name and the returns; `run`: see `read_teachers`."""

    @property
    def name(self) -> str:
        """The name of its files; unlike the drone's name, it is always a valid file name and identifier."""
        return f"teacher_{self.teacher_id:04d}"

    @property
    def layers(self) -> dict[str, dict[str, np.ndarray]]:
        """The layers of the network in order, by name: {kernel [inputs, outputs], bias [outputs]}, float32."""
        mlp = checkpoints.layers(self.actor)
        return {name: mlp[name] for name in ("hidden_0", "hidden_1", "output")}

    @property
    def mean_layers(self) -> dict[str, dict[str, np.ndarray]]:
        """As `layers`, but without the log standard deviation, the second half of the output."""
        layers = self.layers
        mean = {kind: values[..., :ACTION_DIM] for kind, values in layers["output"].items()}
        return {**layers, "output": mean}

    def action(self, observation: np.ndarray | jax.Array) -> jax.Array:
        """Returns the deterministic actions [..., 4] in [-1, 1] at observations [..., 26]."""
        return _deterministic_action(self.config.sac, self.actor, jnp.asarray(observation, jnp.float32))


def read_teachers(run: Path, teacher_id: int | None, overrides: dict[str, int] | None = None) -> list[Teacher]:
    """Returns the best actors in the newest checkpoint of a run, with their provenance.

    The provenance of the run is the name of its directory, the step of the checkpoint, the SHA-256 of
    checkpoints/config.yaml and the versions of the packages.

    Args:
        run: output directory of a run.
        teacher_id: the teacher to read; None for all.
        overrides: settings by dotted key that replace those of the run.

    Raises:
        UserError: the directory contains no run, or the teacher does not exist.
    """
    kept = load_kept(run, overrides or {})
    ids = kept.ids
    if teacher_id is not None:
        require_teacher(run, ids, teacher_id)
    entries, origin = _provenance(run, kept.step, ids)
    actors = jax.tree.map(np.asarray, kept.actors)
    return [
        Teacher(
            ids[row],
            kept.settings,
            jax.tree.map(lambda leaf, row=row: leaf[row], actors),
            kept.drone_files[row],
            {"teacher": entries[row], "run": origin},
        )
        for row in range(len(ids))
        if teacher_id in (None, ids[row])
    ]


def _provenance(run: Path, step: int, ids: list[int]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Returns the entries of these teachers in results.json, and the provenance of the run."""
    results = read(run / layout.RESULTS).content()
    try:
        entries = {entry["teacher_id"]: entry for entry in results["teachers"]}
        origin = {
            "directory": run.resolve().name,
            "step": step,
            "config_sha256": hashlib.sha256(layout.config_file(run).read_bytes()).hexdigest(),
            "versions": results["run"]["versions"],
        }
        return [entries[i] for i in ids], origin
    except (KeyError, TypeError) as error:
        problem = f"not the results of the teachers in {layout.best_arrays(step)} ({first_line(error)})"
        raise UserError(f"{run / layout.RESULTS}: {problem}; restore the file") from None
