"""Writes runs as a training would, without training."""

import json
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from raptor_jax import config, sac
from raptor_jax.config import Config
from raptor_jax.drones import files, sampling
from raptor_jax.evaluation import Evaluation
from raptor_jax.runs import checkpoints, layout, results, warm_start
from raptor_jax.runs.curves import Curves
from raptor_jax.runs.results import Results
from raptor_jax.utils.files import write_json, write_text

CHUNK = 1000
"""Environment steps between two evaluations."""
POINTS = 5
"""Evaluations in the main round, the one before it included; an extra round has as many again."""


def results_of(run: Path) -> dict:
    """Returns the content of a run's results."""
    return json.loads((run / layout.RESULTS).read_text())


def write_run(run: Path, teachers: int, seed: int = 0, settings: Config | None = None) -> np.ndarray:
    """Writes a finished run of sampled drones, whose last teacher fails, and fails again in an extra round.

    Returns are made up, and rise with the thrust-to-weight. There is no checkpoint; `write_actors` adds one.

    Returns:
        The judged mean returns, [T].
    """
    settings = settings or Config()
    directory = run / layout.CHECKPOINTS
    sampled = settings.sampling.model_copy(update={"seed": seed})
    sampling.write_drones(directory / "dynamics", sampled, teachers)
    write_text(directory / "config.yaml", config.dump(settings))
    drone_files = files.load_directory(directory / "dynamics")

    found = Results.begin(settings.model_dump(), run, range(teachers), drone_files)
    found.run.status = "finished"
    returns = np.array([300 + 30 * entry.thrust_to_weight for entry in found.teachers])
    returns[-1] = -20.0
    curves = _curves(returns)
    step = 2 * (POINTS - 1) * CHUNK
    found.run.step = step
    found.add_round(range(teachers), step // 2, 10)
    found.add_round([teachers - 1], step // 2, 10)
    found.set_kept(returns, np.full(teachers, step // 2))
    failed = returns < 0
    found.set_final_evaluation(
        Evaluation(
            mean_return=returns,
            std_return=np.full(teachers, 20.0),
            episode_length=np.where(failed, 120.0, 500.0),
            share_terminated=np.where(failed, 0.9, 0.0),
            final_position_error=np.full(teachers, 0.02),
            position_offset=np.where(failed, np.nan, 0.01),
            yaw_offset=np.full(teachers, 0.001),
        ),
        settings.training.pass_return,
        layout.best_arrays(step),
    )
    write_json(run / layout.RESULTS, found.content())
    curves.save(run / layout.CURVES)
    return returns


def _curves(returns: np.ndarray) -> Curves:
    """Returns straight lines from 0 to the returns [T]; only the last teacher has a second round."""
    curves = Curves(range(len(returns)))
    others = np.arange(len(returns)) < len(returns) - 1
    for number in range(2 * POINTS):
        extra, point = divmod(number, POINTS)
        step = ((POINTS - 1) * extra + point) * CHUNK
        reward = returns * point / (POINTS - 1)
        curves.add("eval", step, {"reward": np.where(others & bool(extra), np.nan, reward)})
        if point:
            curves.add("train", step, {"episode_reward": np.where(others & bool(extra), np.nan, reward)})
    return curves


def write_actors(run: Path) -> None:
    """Adds the checkpoint of the kept actors to a run: the packaged start for every teacher."""
    settings = config.load(layout.config_file(run), {})
    found = results.read(run / layout.RESULTS)
    returns = np.array([teacher.mean_return for teacher in found.teachers], np.float32)
    actors = jax.tree.map(lambda leaf: np.stack([leaf] * len(returns)), warm_start.load(settings))
    write_kept(run, settings, actors, returns, found.teachers[0].best_step, found.run.step)


def write_kept(
    run: Path, settings: Config, actors: sac.Parameters, returns: np.ndarray, best_step: int, step: int | None = None
) -> None:
    """Writes a checkpoint of kept actors, [T, ...], with untrained critics; `step` is its own, `best_step` if None."""
    critic = sac.create(settings.sac, jax.random.key(0)).critic
    kept = {
        "actor": checkpoints.layers(actors),
        "critic": jax.tree.map(lambda leaf: np.stack([leaf] * len(returns)), checkpoints.layers(critic)),
        "alpha": np.full_like(returns, 1e-3),
        "mean_return": returns,
        "std_return": np.full_like(returns, 20),
        "step": np.full(len(returns), best_step, np.int32),
        "teacher_id": np.arange(len(returns), dtype=np.int32),
    }
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((run / layout.best_arrays(best_step if step is None else step)).absolute(), kept)
