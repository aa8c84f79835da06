"""`evaluate` for a student: its mean return on each drone, next to that of another policy."""

import argparse
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from raptor_jax import config as configs
from raptor_jax import evaluation
from raptor_jax.commands.policies import KEPT, load_policy, policy_evaluator
from raptor_jax.config import Config
from raptor_jax.drones import files
from raptor_jax.drones.files import DroneFile
from raptor_jax.drones.parameters import thrust_to_weight
from raptor_jax.drones.tasks import PASS_RETURN
from raptor_jax.errors import UserError, printable
from raptor_jax.evaluation import Evaluation
from raptor_jax.population import memory
from raptor_jax.runs import layout, student_file
from raptor_jax.runs.results_table import MOST_ROWS
from raptor_jax.utils.console import say
from raptor_jax.utils.files import json_number, require_writable, write_atomically, write_json, write_requested
from raptor_jax.utils.machine import machine, versions

_STUDENT = "student"


class _Comparison(NamedTuple):
    """Policies on the same episodes of the same drones."""

    drones: list[DroneFile]
    found: dict[str, Evaluation]
    """By policy, the student first; every array [D]."""
    pass_return: float
    """Mean return above which a policy passes on a drone."""


def evaluate_student(options: argparse.Namespace, console: Console) -> bool:
    """Evaluates a student on drones and, with --policy, another policy in the same episodes.

    Args:
        options: options of the command `evaluate`.
        console: where the table is printed.

    Returns:
        Whether the student passed on every drone.

    Raises:
        UserError: there is no such student, drone or policy, a package is missing, or a file cannot be written.
    """
    _require_options(options)
    _, provenance = student_file.load(options.run)
    config = _settings(options, provenance)
    drones = _drones(options, provenance)
    others = {} if options.policy == KEPT else {_apart(options.policy, [_STUDENT]): options.policy}
    evaluate = policy_evaluator(options.simulator)
    stacked = jax.tree.map(jnp.asarray, files.stack_for_training(drones, config.environment))
    episodes = config.training.final_eval_episodes
    memory.require_for_episodes(memory.evaluation_bytes(config, stacked, len(drones), episodes), episodes)
    found = {
        name: evaluate(config, load_policy(path), stacked, episodes, evaluation.FINAL)
        for name, path in {_STUDENT: str(options.run), **others}.items()
    }
    task = config.environment.task
    both = _Comparison(drones, found, config.training.pass_return if task == "file" else PASS_RETURN[task])
    _print(both, console)
    if options.plot is not None:
        write_requested("--plot", options.plot, lambda path: _draw(both, path))
        say(console, f"wrote {options.plot}")
    write_requested("--json", options.json, lambda path: write_json(path, _content(both, options, config)))
    return bool(np.all(np.asarray(found[_STUDENT].mean_return) > both.pass_return))


def _require_options(options: argparse.Namespace) -> None:
    """Raises UserError for options that do not apply to a student, and for files that cannot be written."""
    for option in ("matrix", "teachers"):
        if getattr(options, option) is not None:
            raise UserError(f"--{option}: {options.run} is a student, not a run; leave the option out")
    require_writable("--json", options.json)
    require_writable("--plot", options.plot)


def _apart(policy: str, taken: Collection[str]) -> str:
    """Returns the name of a policy, a path, so that it is none of those that are taken."""
    return f"./{policy}" if policy in taken else policy


def _settings(options: argparse.Namespace, provenance: Mapping[str, Any]) -> Config:
    """Returns the settings of the student's teachers, with the changes that the options request."""
    overrides = {
        "environment.task": options.task,
        "environment.l2f_initial_angle": options.l2f_initial_angle,
        "training.seed": options.seed,
        "training.final_eval_episodes": options.episodes,
    }
    given = {key: value for key, value in overrides.items() if value is not None}
    return configs.build(provenance.get("config", {}), given, f"{options.run}: provenance: config")


def _drones(options: argparse.Namespace, provenance: Mapping[str, Any]) -> list[DroneFile]:
    """Returns the drones of --drones, or those of the student's teachers."""
    if options.drones is not None:
        return files.load_directory(options.drones)
    run = provenance.get("distilled_from")
    if not isinstance(run, str) or not layout.drones(Path(run)).is_dir():
        raise UserError(f"{options.run}: the run of its teachers was not found at {run}; name drones with --drones DIR")
    return files.load_directory(layout.drones(Path(run)))


def _print(both: _Comparison, console: Console) -> None:
    """Prints the returns on the drones, at most MOST_ROWS with the student's lowest, and a summary of each policy."""
    lowest = np.argsort(np.asarray(both.found[_STUDENT].mean_return), kind="stable")[:MOST_ROWS]
    shown = np.sort(lowest) if len(both.drones) <= MOST_ROWS else lowest
    if len(both.drones) > MOST_ROWS:
        console.print(f"The {MOST_ROWS} lowest of {len(both.drones)} drones:")
    table = Table("drone", "thrust/weight", escape("mass [kg]"), *(printable(escape(name)) for name in both.found))
    for column in table.columns[1:]:
        column.justify = "right"
    for row in shown.tolist():
        dynamics = both.drones[row].drone.dynamics
        table.add_row(
            Text(printable(both.drones[row].path.name)),
            f"{float(thrust_to_weight(dynamics)):.2f}",
            f"{float(dynamics.mass):.3f}",
            *(_cell(found, row) for found in both.found.values()),
        )
    console.print(table)
    returns = {name: np.asarray(found.mean_return) for name, found in both.found.items()}
    width = max(len(name) for name in returns)
    for name, values in returns.items():
        say(console, f"{name:<{width}}  {_summary(values, both.pass_return)}")
    for name in list(returns)[1:]:
        higher = int(np.sum(returns[_STUDENT] > returns[name]))
        say(console, f"the student scores higher than {name} on {higher} of {len(both.drones)} drones")


def _cell(found: Evaluation, row: int) -> str:
    mean, deviation = float(found.mean_return[row]), float(found.std_return[row])
    crashed = float(found.share_terminated[row])
    return f"{mean:.0f} +- {deviation:.0f}" + (f", {crashed:.0%} terminated" if crashed else "")


def _summary(returns: np.ndarray, pass_return: float) -> str:
    return (
        f"median {np.median(returns):.0f}, 5th percentile {np.percentile(returns, 5):.0f}, worst {returns.min():.0f};"
        f" {np.sum(returns > pass_return)} of {returns.size} drones passed (mean return above {pass_return:g})"
    )


def _draw(both: _Comparison, picture: Path) -> None:
    """Draws the mean returns on each drone, ordered by the student's."""
    from matplotlib.figure import Figure

    order = np.argsort(np.asarray(both.found[_STUDENT].mean_return), kind="stable")
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, found in both.found.items():
        axes.plot(np.asarray(found.mean_return)[order], ".", markersize=4, label=printable(name))
    axes.axhline(
        both.pass_return, color="gray", linewidth=0.8, linestyle="--", label=f"passes above {both.pass_return:g}"
    )
    axes.set_xlabel("drone, in the order of the student's mean return")
    axes.set_ylabel("mean return")
    axes.legend()
    write_atomically(picture, lambda file: figure.savefig(file, format="png", dpi=120))


def _content(both: _Comparison, options: argparse.Namespace, config: Config) -> dict[str, Any]:
    """Returns the content of the JSON file."""
    about = {
        "path": str(options.run),
        "policy": options.policy,
        "simulator": options.simulator,
        "task": config.environment.task,
        "l2f_initial_angle": config.environment.l2f_initial_angle,
        "episodes": config.training.final_eval_episodes,
        "seed": config.training.seed,
        "bar": both.pass_return,
        "machine": machine(),
        "versions": versions(),
        "drones": [file.path.name for file in both.drones],
    }
    results = {
        _apart(name, about): {
            "mean_return": _numbers(found.mean_return),
            "std_return": _numbers(found.std_return),
            "share_terminated": _numbers(found.share_terminated),
        }
        for name, found in both.found.items()
    }
    return about | results


def _numbers(values: jax.Array) -> Sequence[float | None]:
    return [json_number(value) for value in np.asarray(values)]
