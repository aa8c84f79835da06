"""Rolls back diverged teachers: those whose numbers became non-finite in a chunk.

Inside the chunk's program, `population.per_teacher.freeze_non_finite` has already restored the teacher's state from
before the chunk and marked the teacher as inactive. This module decides whether it continues with new random draws.
"""

import jax
import numpy as np
from jax.sharding import Mesh

from raptor_jax.population import sharding
from raptor_jax.population.per_teacher import revive
from raptor_jax.population.state import Population
from raptor_jax.sac import replay as replays
from raptor_jax.training.output import Output
from raptor_jax.training.setup import Setup
from raptor_jax.training.state import RunState
from raptor_jax.utils.console import say

RESTARTS = 3
"""How often a teacher is rolled back in a round before it is frozen."""


def roll_back_diverged(setup: Setup, output: Output, state: RunState) -> None:
    """Restarts each teacher that diverged in the last chunk from the state before it; freezes it after RESTARTS."""
    diverged = state.active & ~state.round.of_real_teachers(state.population.active)
    if not diverged.any():
        return
    state.restarts += diverged
    for place in np.flatnonzero(diverged).tolist():
        _report(setup, output, state, place)
    restarted = diverged & (state.restarts <= RESTARTS)
    state.active &= ~diverged | restarted
    if restarted.any():
        state.population = _restarted(setup.mesh, state, restarted)


def _report(setup: Setup, output: Output, state: RunState, place: int) -> None:
    """Records and prints whether the diverged teacher at a place of the round is restarted or frozen."""
    entry, restarts = output.results.teachers[state.round.rows[place]], state.restarts[place]
    if restarts <= RESTARTS:
        entry.restarts += 1
        outcome = f"restarted there with fresh random draws ({restarts} of {RESTARTS})"
    else:
        entry.frozen_at_step = state.step
        outcome = "frozen"
    say(
        setup.console,
        f"teacher {entry.teacher_id:04d} ({entry.drone}): its numbers became non-finite before step {state.step};"
        f" rolled back to the previous chunk and {outcome}; the others continue",
        "red",
    )


def _restarted(mesh: Mesh, state: RunState, restarted: np.ndarray) -> Population:
    """Returns the population with these teachers, [R] bool, active again, and no broken rows in their replay."""

    def restart(population: Population, restarted: jax.Array, times: jax.Array) -> Population:
        if population.replay is not None:
            population = population.replace(replay=replays.repaired(population.replay, restarted))
        return revive(population, restarted, times)

    places = state.round.places
    marks = sharding.shard(mesh, (restarted[places], state.restarts[places].astype(np.int32)))
    program = sharding.compile_sharded(mesh, restart, state.population, *marks, donate=True)
    population: Population = program(state.population, *marks)
    return population
