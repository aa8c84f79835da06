"""Saves everything that a resumed run needs."""

from raptor_jax.config import TrainingConfig
from raptor_jax.population.state import Population
from raptor_jax.runs.checkpoints import Notes, state_dict, tree_of_best
from raptor_jax.training.output import Output
from raptor_jax.training.setup import Setup
from raptor_jax.training.state import RunState
from raptor_jax.utils.files import json_number
from raptor_jax.utils.trees import tree_bytes

SAVED_REPLAY_BYTES = 2**30
"""The largest replay that is saved if `training.checkpoint_replay` is auto."""


def save_checkpoint(setup: Setup, output: Output, state: RunState) -> None:
    """Writes results and curves, then a checkpoint, so that the curves always extend at least to the checkpoint."""
    output.write_results()
    replay = state.population.replay
    notes = Notes(
        attempt=state.round.attempt,
        rows=state.round.rows.tolist(),
        began=state.began,
        began_with=[json_number(value) for value in state.began_with],
        teacher_updates=state.teacher_updates,
        replay_rows=int(replay.filled) if replay is not None else 0,
        curves=output.curves.counts(),
        results=output.results.content(),
        restarts=state.restarts.tolist(),
    )
    ids = setup.job.teacher_ids[state.round.rows[state.round.places]]
    with_replay = _saves_replay(setup.config.training, state.population)
    kept = tree_of_best(state.best, setup.job.teacher_ids)
    latest = {**state_dict(state.population, with_replay), "teacher_id": ids}
    output.checkpoints.save(state.step, kept, latest, notes)


def _saves_replay(config: TrainingConfig, population: Population) -> bool:
    wanted = config.checkpoint_replay
    return wanted == "always" or (wanted == "auto" and tree_bytes(population.replay) <= SAVED_REPLAY_BYTES)
