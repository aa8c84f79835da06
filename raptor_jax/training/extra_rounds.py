"""Rescue rounds: the teachers that fall short are trained again, each time twice as long and with fresh seeds."""

import jax
import numpy as np

from raptor_jax.config import TrainingConfig
from raptor_jax.population.best import Best
from raptor_jax.training.output import Output
from raptor_jax.training.state import RunState, Setup, prepare_round


def teachers_to_rescue(config: TrainingConfig, state: RunState) -> np.ndarray:
    """Returns the rows of the teachers to train again after a round; none once all rescue rounds are used up."""
    if state.round.attempt >= config.rescue_rounds:
        return np.empty(0, int)
    return falling_short(config, state.best)


def falling_short(config: TrainingConfig, best: Best) -> np.ndarray:
    """Returns the rows of the teachers whose best return is not above the pass return by two standard errors."""
    kept = jax.device_get(best)
    uncertainty = 2 * kept.std_return / np.sqrt(config.eval_episodes)
    return np.flatnonzero(~(kept.mean_return - uncertainty > config.pass_return))


def begin_rescue_round(setup: Setup, output: Output, state: RunState, rows: np.ndarray) -> None:
    """Brings the state to the beginning of a rescue round of these teachers."""
    attempt = state.round.attempt + 1
    setup.console.print(f"rescue round {attempt}: trains the {rows.size} teachers that fall short again")
    # Freed before the next one is made: two replays might not fit.
    del state.population
    with output.timed("compiling"):
        state.round = prepare_round(setup, attempt, rows)
    state.population = state.round.create()
    state.began = state.step
    state.active, state.restarts = np.ones(rows.size, bool), np.zeros(rows.size, int)
