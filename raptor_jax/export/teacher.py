"""One teacher as it is handed on: its actor, its drone and where they come from."""

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
    """A kept actor of a run."""

    teacher_id: int
    config: Config
    """The settings that it was trained with."""
    actor: sac.Parameters
    """The weights, on the host."""
    drone_file: DroneFile
    provenance: dict[str, Any]
    """`teacher`: its entry of results.json, with the drone's name and the returns; `run`: see `read_teachers`."""

    @property
    def name(self) -> str:
        """Returns what its files are called; the drone's own name need not be fit for a file or an identifier."""
        return f"teacher_{self.teacher_id:04d}"

    @property
    def layers(self) -> dict[str, dict[str, np.ndarray]]:
        """Returns the network, first layer first: {kernel [inputs, outputs], bias [outputs]}, float32."""
        mlp = checkpoints.layers(self.actor)
        return {name: mlp[name] for name in ("hidden_0", "hidden_1", "output")}

    @property
    def mean_layers(self) -> dict[str, dict[str, np.ndarray]]:
        """Returns `layers` without the log standard deviation, the second half of the output: what flies."""
        layers = self.layers
        mean = {kind: values[..., :ACTION_DIM] for kind, values in layers["output"].items()}
        return {**layers, "output": mean}

    def action(self, observation: Any) -> jax.Array:
        """Returns the actions [..., 4] that it takes at observations [..., 26], as in an evaluation."""
        return _deterministic_action(self.config.sac, self.actor, jnp.asarray(observation, jnp.float32))


def read_teachers(run: Path, teacher_id: int | None, overrides: dict[str, int] | None = None) -> list[Teacher]:
    """Returns the newest kept actors of a run, with their provenance.

    What the provenance tells of the run: the name of its directory, the step of the checkpoint, the SHA-256 of
    checkpoints/config.yaml and the versions that it was trained with.

    Args:
        run: output directory of a run.
        teacher_id: the one to read; None for all.
        overrides: settings by dotted key that take the place of the run's own.

    Raises:
        UserError: the directory holds no run, or no such teacher.
    """
    judged = load_kept(run, overrides or {})
    ids = judged.ids
    if teacher_id is not None:
        require_teacher(run, ids, teacher_id)
    entries, origin = _provenance(run, judged.step, ids)
    actors = jax.tree.map(np.asarray, judged.actors)
    return [
        Teacher(
            ids[row],
            judged.settings,
            jax.tree.map(lambda leaf, row=row: leaf[row], actors),
            judged.drone_files[row],
            {"teacher": entries[row], "run": origin},
        )
        for row in range(len(ids))
        if teacher_id in (None, ids[row])
    ]


def _provenance(run: Path, step: int, ids: list[int]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Returns the entries of results.json for these teachers, and what is told of the run."""
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
