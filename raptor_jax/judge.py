"""Flies the kept actors of a run again: the command `evaluate`."""

from pathlib import Path

import jax
import jax.numpy as jnp
from rich.console import Console

from raptor_jax import checkpoints, config, evaluation, sac
from raptor_jax.dynamics import files
from raptor_jax.errors import UserError
from raptor_jax.results import Results, print_table
from raptor_jax.storage import write_json


def evaluate_run(run: Path, episodes: int | None, seed: int | None, json_path: Path | None, console: Console) -> bool:
    """Evaluates the newest kept actors of a run on their own drones, prints a table, and returns whether all pass.

    Args:
        run: output directory of a run.
        episodes: episodes of each teacher; None for as many as judged the run.
        seed: seed of the episodes; None for the run's own. With both None this repeats its final judgement.
        json_path: also write the numbers here.
        console: where the table goes.

    Raises:
        UserError: the directory holds no run, or what it holds does not fit together.
    """
    directory = run / checkpoints.DIRECTORY
    if not directory.is_dir():
        raise UserError(f"{run}: holds no {checkpoints.DIRECTORY}; name the output directory of a run")
    if json_path is not None and (json_path.is_dir() or not json_path.absolute().parent.is_dir()):
        raise UserError(f"--json: {json_path}: cannot be written; name a file in a directory that exists")
    settings = config.load(directory / "config.yaml", {} if seed is None else {"training.seed": seed})
    drone_files = files.load_directory(directory / "dynamics")
    step, tree = checkpoints.load_best(run)
    actors = jax.tree.map(jnp.asarray, checkpoints.actor_of(tree))
    _require_fit(directory, settings, actors, len(drone_files))
    found = evaluation.evaluate(
        settings,
        actors,
        jax.tree.map(jnp.asarray, files.stack_for_training(drone_files, settings.environment)),
        episodes or settings.training.final_eval_episodes,
        evaluation.JUDGEMENT,
    )
    results = Results({"run": str(run)}, [int(i) for i in tree["teacher_id"]], drone_files)
    results.run["step"] = step
    results.set_kept(tree["mean_return"], tree["step"])
    results.set_judgement(found, settings.training.pass_return, checkpoints.best_path(step))
    print_table(results.teachers, settings.training.pass_return, console)
    if json_path is not None:
        write_json(json_path, results.content())
    return results.all_passed


def _require_fit(directory: Path, settings: config.Config, actors: sac.Parameters, drones: int) -> None:
    """Raises UserError if the actors are not those of these settings, one for each drone."""
    one = jax.eval_shape(lambda: sac.create(settings.sac, jax.random.key(0)).actor)
    expected = jax.tree.map(lambda leaf: (drones, *leaf.shape), one)
    found = jax.tree.map(lambda leaf: leaf.shape, actors)
    if found != expected:
        raise UserError(
            f"{directory}: the checkpoint's actors do not fit config.yaml and the {drones} drones beside it;"
            " restore the files of the run"
        )
