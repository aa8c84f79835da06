"""What is exported: a finished run of three teachers, on drones of which one often crashes, and a student."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import config, evaluation, sac, student
from raptor_jax.drones import files
from raptor_jax.runs import layout, student_file, warm_start
from raptor_jax.runs.results import Results
from raptor_jax.utils.files import write_json, write_text
from tests.export.run import CRASHING, NAMES, SETTINGS, STEP
from tests.export.student.networks import PROVENANCE, Flight, fly, random_student
from tests.runs.builder import write_kept
from validation.drones import replaced, sampled_drones


@pytest.fixture(scope="session")
def actors() -> sac.Parameters:
    """The weights of the shipped start, each teacher's changed by some percent, [3, ...]."""
    random = np.random.default_rng(1)

    def varied(leaf: jax.Array) -> jax.Array:
        return jnp.asarray(np.asarray(leaf) * random.normal(1, 0.05, (len(NAMES), *leaf.shape)), jnp.float32)

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


@pytest.fixture(scope="session")
def weights() -> student.Weights:
    """The student's, with a width of 16."""
    return random_student(16)


@pytest.fixture(scope="session")
def home(weights: student.Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that `distill` would have written; not to be written into."""
    directory = tmp_path_factory.mktemp("students") / "distilled"
    student_file.save(directory / student_file.NAME, weights, PROVENANCE)
    return directory


@pytest.fixture(scope="session")
def flight(weights: student.Weights) -> Flight:
    """A flight of the student."""
    observations = 0.5 * np.random.default_rng(1).standard_normal((500, 2, 22), np.float32)
    actions = fly(weights, observations)
    # Without its memory it must act differently, or a lost memory would not show.
    assert np.abs(fly(weights, observations[-1:]) - actions[-1]).max() > 0.1
    return Flight(observations, actions)
