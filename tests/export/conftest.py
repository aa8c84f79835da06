"""A finished run to export from: three teachers that differ, on drones of which one often crashes."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import config, evaluation, sac
from raptor_jax.drones import files
from raptor_jax.runs import layout, warm_start
from raptor_jax.runs.results import Results
from raptor_jax.utils.files import write_json, write_text
from tests.export.run import CRASHING, NAMES, SETTINGS, STEP
from tests.runs.builder import write_kept
from validation.drones import replaced, sampled_drones


@pytest.fixture(scope="session")
def actors() -> sac.Parameters:
    """The weights of the shipped start, each teacher's changed by some percent, [3, ...]."""
    random = np.random.default_rng(1)

    def varied(leaf: jax.Array) -> jax.Array:
        leaf = np.asarray(leaf)
        return jnp.asarray(leaf * random.normal(1, 0.05, (len(NAMES), *leaf.shape)), jnp.float32)

    return jax.tree.map(varied, warm_start.load(SETTINGS))


@pytest.fixture(scope="session")
def run(actors: sac.Parameters, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run's directory; not to be written into."""
    run = tmp_path_factory.mktemp("runs") / "run"
    directory = run / layout.CHECKPOINTS
    drones = sampled_drones(len(NAMES))
    drones[CRASHING] = replaced(drones[CRASHING], mdp__termination__linear_velocity_threshold=1.2)
    for name, drone in zip(NAMES, drones, strict=True):
        files.save_drone(directory / "dynamics" / name, drone, {"seed": 0})
    drone_files = files.load_directory(directory / "dynamics")
    stacked = jax.tree.map(jnp.asarray, files.stack_for_training(drone_files, SETTINGS.environment))
    write_text(directory / "config.yaml", config.dump(SETTINGS))

    results = Results.begin(SETTINGS.model_dump(), run, range(len(NAMES)), drone_files)
    results.run.status = "finished"
    kept = np.array([30, 20, 10], np.float32)
    results.set_kept(kept, np.full(len(NAMES), STEP))
    found = evaluation.evaluate(SETTINGS, actors, stacked, SETTINGS.training.final_eval_episodes, evaluation.FINAL)
    results.set_final_evaluation(found, SETTINGS.training.pass_return, layout.best_arrays(STEP))
    write_json(run / layout.RESULTS, results.content())
    write_kept(run, SETTINGS, actors, kept, STEP)
    return run
