"""The flights of teachers as a data set for distillation (the command `rollout`).

The file of a teacher is written before the next teacher flies, so memory does not grow with the number of teachers.
"""

import functools
import json
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track

from raptor_jax import evaluation
from raptor_jax.drones.files import to_json
from raptor_jax.drones.tasks import for_training
from raptor_jax.export.teacher import Teacher, read_teachers
from raptor_jax.population import memory
from raptor_jax.runs import layout
from raptor_jax.utils.console import say
from raptor_jax.utils.files import json_number, write_atomically, write_json, writing
from raptor_jax.utils.trees import tree_bytes


def roll_out(
    run: Path, teacher_id: int | None, episodes: int | None, seed: int | None, output: Path | None, console: Console
) -> None:
    """Flies teachers of a run on their own drones, with the mean action, and writes every step.

    Writes teacher_0000.npz and so on, one for each teacher, and then an index of all files.

    Args:
        run: output directory of a run.
        teacher_id: the teacher to fly; None for all.
        episodes: episodes per teacher; None for the number in the run's final evaluation.
        seed: seed of the episodes; None for the run's. With both None, the flights are those of the final evaluation.
        output: directory for the files; None for RUN/rollouts.
        console: shows the progress.

    Raises:
        UserError: the run or the teacher does not exist, there is too little memory for these episodes, or the files
            cannot be written.
    """
    teachers = read_teachers(run, teacher_id, {} if seed is None else {"training.seed": seed})
    config = teachers[0].config
    episodes = episodes or config.training.final_eval_episodes
    directory = output or run / layout.ROLLOUTS
    with writing(directory, "name another directory", "--output"):
        entries = [_fly(directory, one, episodes) for one in track(teachers, "flying", console=console)]
        index = {
            "run": teachers[0].provenance["run"],
            "seed": config.training.seed,
            "episodes": episodes,
            "episode_steps": config.environment.episode_steps,
            "teachers": entries,
        }
        write_json(directory / layout.DATASET, index)
    say(console, f"wrote {len(teachers)} x {episodes} episodes to {directory}")


def _fly(directory: Path, teacher: Teacher, episodes: int) -> dict[str, Any]:
    """Writes the file of one teacher; returns its entry in the index."""
    config, file = teacher.config, teacher.drone_file
    drone = for_training(file.drone, config.environment, str(file.path))
    fly = functools.partial(evaluation.roll_out, config, episodes=episodes, stream=evaluation.FINAL)
    flown = teacher.actor, jax.tree.map(jnp.asarray, drone)
    # The flights, and a copy of them on the host.
    memory.require_for_episodes(2 * tree_bytes(jax.eval_shape(fly, *flown)), episodes)
    flights, steps = jax.device_get(fly(*flown))
    arrays = {
        "observation": steps.observation,
        "action": steps.action,
        "reward": steps.reward,
        "length": flights.episode.length,
        "terminated": flights.terminated,
        "drone": np.array(to_json(drone, file.metadata)),
        "provenance": np.array(json.dumps(teacher.provenance)),
    }
    path = directory / f"{teacher.name}.npz"
    write_atomically(path, lambda out: np.savez(out, **cast(Any, arrays)))
    return {
        "file": path.name,
        "teacher_id": teacher.teacher_id,
        "drone": file.path.name,
        "mean_return": json_number(flights.episode.total_reward.mean()),
        "share_terminated": json_number(flights.terminated.mean()),
        "steps": int(flights.episode.length.sum()),
    }
