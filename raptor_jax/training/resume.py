"""Resumes a run from its newest undamaged checkpoint."""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from raptor_jax.errors import UserError
from raptor_jax.population import sharding
from raptor_jax.population.best import Best
from raptor_jax.population.state import Population
from raptor_jax.runs import checkpoints, layout
from raptor_jax.runs.checkpoints import Notes
from raptor_jax.training import rounds
from raptor_jax.training.output import Output
from raptor_jax.training.rounds import Round
from raptor_jax.training.setup import Setup
from raptor_jax.training.state import RunState
from raptor_jax.utils.console import say


@dataclasses.dataclass(frozen=True)
class ResumePoint:
    """An undamaged checkpoint, read and ready for further training."""

    step: int
    """Environment steps of a teacher."""
    notes: Notes
    round: Round
    """The round that was in progress, compiled."""
    population: Population
    """On the devices."""
    best: Best
    """The kept networks of all T teachers, on the host."""


def newest_point(setup: Setup) -> ResumePoint | None:
    """Returns the newest undamaged checkpoint of a run; None if none was finished yet.

    Raises:
        UserError: all checkpoints are damaged.
    """
    output_dir, console = setup.job.output_dir, setup.console
    steps = checkpoints.resumable_steps(output_dir)
    for step in steps:
        try:
            return _read(setup, step)
        except UserError as error:
            say(console, f"{error}; using the previous one", "yellow")
    if steps:
        raise UserError(
            f"{output_dir}: all of its checkpoints are damaged; restore its files, or start again with --overwrite,"
            " which moves them aside"
        )
    console.print("no checkpoint to resume from yet: starts from the beginning")
    return None


def resume_from(setup: Setup, output: Output, point: ResumePoint) -> RunState:
    """Returns the state at a resume point; results and curves continue from there, newer checkpoints are deleted."""
    console, step, notes = setup.console, point.step, point.notes
    output.results.restore(notes.results)
    try:
        output.curves.restore(setup.job.output_dir / layout.CURVES, notes.curves)
    except UserError as error:
        say(console, f"{error}; the curves start again at step {step:,}", "yellow")
    output.checkpoints.delete_after(step)
    console.print(f"resumed from step {step:,}")
    began_with = np.array([-np.inf if value is None else value for value in notes.began_with])
    state = RunState(point.round, point.population, point.best, began_with, step, notes.began, notes.teacher_updates)
    if notes.restarts is not None:
        state.restarts = np.array(notes.restarts)
    _refill_replay(setup, state, notes.replay_rows)
    return state


def _read(setup: Setup, step: int) -> ResumePoint:
    """Reads the checkpoint of a step, and compiles its round. Raises UserError if it is damaged."""
    output_dir = setup.job.output_dir
    notes = checkpoints.load_notes(output_dir, step, Notes)
    kept = checkpoints.best_of(checkpoints.load_best(output_dir, step)[1])
    now = rounds.prepare(setup.everyone, notes.attempt, np.asarray(notes.rows), kept if notes.attempt else None)
    population = _population(setup, now, output_dir, step)
    return ResumePoint(step, notes, now, population, kept)


def _population(setup: Setup, now: Round, output_dir: Path, step: int) -> Population:
    """Returns the saved population; its replay is empty if none was saved, or one with rows of another size."""
    population = now.create()
    tree = checkpoints.load_latest(output_dir, step)
    saved = tree.get("replay")
    if saved and population.replay and saved["rows"].shape[1:] != population.replay.rows.shape[1:]:
        del tree["replay"]
    tree = jax.tree.map(lambda leaf: leaf[now.places] if leaf.ndim else leaf, tree)
    return checkpoints.restore(population, sharding.shard(setup.mesh, tree))


def _refill_replay(setup: Setup, state: RunState, rows: int) -> None:
    """Fills a replay that was not saved with at least as many transitions as it had, from the current policies."""
    replay = state.population.replay
    if replay is None:
        return
    missing = rows - int(replay.filled)
    if missing <= 0:
        return
    for _ in range(-(-missing // state.round.plan.warmup_steps)):
        state.population, _ = state.round.collect(state.population)
    setup.console.print(f"refilled the replay with {missing:,} or more transitions from the current policies")
