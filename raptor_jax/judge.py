"""Flies the kept actors of a run again: the command `evaluate`."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from raptor_jax import checkpoints, config, evaluation
from raptor_jax.dynamics import files
from raptor_jax.errors import UserError
from raptor_jax.results import Results, print_table
from raptor_jax.storage import write_json


def evaluate_run(run: Path, episodes: int, seed: int | None, json_path: Path | None, console: Console) -> bool:
    """Evaluates the newest kept actors of a run on their own drones, prints a table, and returns whether all pass.

    Args:
        run: output directory of a run.
        episodes: episodes of each teacher.
        seed: seed of the episodes; None for the run's own, which repeats its final judgement.
        json_path: also write the numbers here.
        console: where the table goes.

    Raises:
        UserError: the directory holds no run, or what it holds does not fit together.
    """
    directory = run / checkpoints.DIRECTORY
    if not directory.is_dir():
        raise UserError(f"{run}: holds no {checkpoints.DIRECTORY}; name the output directory of a run")
    settings = config.load(directory / "config.yaml")
    drone_files = files.load_directory(directory / "dynamics")
    step, tree = checkpoints.load_best(run)
    teacher_ids = [int(i) for i in np.asarray(tree["teacher_id"])]
    if len(teacher_ids) != len(drone_files):
        raise UserError(
            f"{directory}: {len(teacher_ids)} teachers but {len(drone_files)} drones; restore the files of the run"
        )
    drones = jax.tree.map(jnp.asarray, files.stack_for_training(drone_files, settings.environment))
    if seed is not None:
        settings = settings.model_copy(update={"training": settings.training.model_copy(update={"seed": seed})})
    found = evaluation.evaluate(
        settings,
        jax.tree.map(jnp.asarray, checkpoints.actor_of(tree)),
        drones,
        episodes,
        evaluation.JUDGEMENT,
    )
    results = Results({"run": str(run), "step": step, "episodes": episodes}, teacher_ids, drone_files)
    results.set_kept(tree["mean_return"], tree["step"])
    results.set_judgement(found, settings.training.pass_return, f"{checkpoints.DIRECTORY}/best/{step}")
    print_table(results.teachers, settings.training.pass_return, console)
    if json_path is not None:
        write_json(json_path, results.content())
    return results.all_passed
