"""The command `train-start`: trains one actor on many drones and writes it, with its provenance, as a warm start."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from raptor_jax import evaluation, sac
from raptor_jax.config import Config
from raptor_jax.drones.files import DroneFile, stack_for_training
from raptor_jax.drones.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.population import warm_start as pooled
from raptor_jax.population.expansion import schedule
from raptor_jax.population.schedule import is_due
from raptor_jax.runs import warm_start
from raptor_jax.utils.files import require_writable, writing
from raptor_jax.utils.machine import machine, versions
from raptor_jax.utils.trees import leading_size

_FIX = "name another file"


def train_start(config: Config, files: Sequence[DroneFile], path: Path, console: Console) -> None:
    """Trains one actor on all drones at once, from random weights, and writes the best one found by evaluation.

    Args:
        config: settings; `training.steps_per_teacher` counts the steps on each drone.
        files: the drones.
        path: the file to write, which must not exist.
        console: where the progress is printed.

    Raises:
        UserError: the horizon is 0, or the file exists or cannot be written.
    """
    if config.sac.horizon == 0:
        raise UserError("sac.horizon: 0 learns without a warm start; train one with a horizon above 0")
    if os.path.lexists(path):
        raise UserError(f"{path}: already exists; name another file with --output, or remove it")
    # Checked before the training, which takes minutes.
    with writing(path, _FIX, "--output"):
        path.parent.mkdir(parents=True, exist_ok=True)
    require_writable("--output", path)
    drones = jax.tree.map(jnp.asarray, stack_for_training(files, config.environment))
    plan = schedule(config)
    now = pooled.create(config, drones)
    began, step, curve, best, kept = time.perf_counter(), 0, [], -np.inf, now.teacher.actor
    for _ in range(plan.chunks):
        before = step
        now, _ = pooled.train(config, now, drones, iterations=plan.chunk_iterations)
        step += plan.chunk_steps
        if step >= plan.total_steps or is_due(before, step, config.training.eval_frequency):
            returns = _returns(config, now.teacher.actor, drones)
            curve.append({"step": step, **_summary(returns, config.training.pass_return)})
            if np.mean(returns) > best:
                # A copy, because the next chunk donates the arrays.
                best, kept = np.mean(returns), jax.device_get(now.teacher.actor)
            console.print(f"step {step:,} of {plan.total_steps:,} for each drone  " + _text(curve[-1]), highlight=False)
    made = {
        "config": config.model_dump(),
        "drones": len(files),
        "updates": int(now.updates),
        "seconds": round(time.perf_counter() - began, 1),
        "machine": machine(),
        "versions": versions(),
        "curve": curve,
    }
    with writing(path, _FIX, "--output"):
        warm_start.save(path, kept, made)


def _returns(config: Config, actor: sac.Parameters, drones: Drone) -> np.ndarray:
    """Returns the actor's mean return [D] on each drone."""
    count = leading_size(drones)
    actors = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), actor)
    found = evaluation.evaluate(config, actors, drones, config.training.eval_episodes, evaluation.SELECTION)
    return np.asarray(found.mean_return)


def _summary(returns: np.ndarray, pass_return: float) -> dict[str, float]:
    low, median = np.percentile(returns, [5, 50])
    return {
        "median": round(float(median), 1),
        "percentile_5": round(float(low), 1),
        "worst": round(float(returns.min()), 1),
        "share_passing": round(float(np.mean(returns > pass_return)), 3),
    }


def _text(point: dict[str, float]) -> str:
    return (
        f"return median {point['median']:.0f}, 5th percentile {point['percentile_5']:.0f}, worst {point['worst']:.0f};"
        f" passes on {point['share_passing']:.0%} of the drones"
    )
