"""Extra rounds: teachers that fall short, or that still improve, are trained further, each time for longer."""

import jax
import numpy as np

from raptor_jax.config import TrainingConfig
from raptor_jax.population.best import Best
from raptor_jax.training import rounds
from raptor_jax.training.output import Output
from raptor_jax.training.setup import Setup
from raptor_jax.training.state import RunState


def teachers_to_train_on(config: TrainingConfig, state: RunState) -> np.ndarray:
    """Returns the rows of the teachers for another round; none after the last extra round."""
    if state.round.attempt >= config.extra_rounds:
        return np.empty(0, int)
    kept: Best = jax.device_get(state.best)
    rows, steps = state.round.rows, state.step - state.began
    worth_it = worth_refining(config, np.asarray(kept.mean_return)[rows], state.began_with, steps)
    return np.union1d(falling_short(config, kept), rows[worth_it])


def worth_refining(config: TrainingConfig, kept: np.ndarray, before: np.ndarray, steps: int) -> np.ndarray:
    """Returns which teachers [R] are below `refine_below` and still gained enough in a round.

    Args:
        config: the settings of the run.
        kept: [R] mean returns after the round.
        before: [R] mean returns before the round; -inf before the main round.
        steps: environment steps of each teacher in the round.
    """
    return (kept < config.refine_below) & (kept - before > config.converged_gain * steps / config.steps_per_teacher)


def falling_short(config: TrainingConfig, kept: Best) -> np.ndarray:
    """Returns the rows of the teachers whose best return is not above the pass return by two standard errors."""
    uncertainty = 2 * kept.std_return / np.sqrt(config.eval_episodes)
    return np.flatnonzero(~(kept.mean_return - uncertainty > config.pass_return))


def begin_extra_round(setup: Setup, output: Output, state: RunState, rows: np.ndarray) -> None:
    """Advances the state to the beginning of another round with these teachers."""
    attempt = state.round.attempt + 1
    setup.console.print(
        f"extra round {attempt}: {rows.size} of {len(setup.job.files)} teachers fall short or still improve"
    )
    # Freed before the next population is created, because two replays might not fit.
    del state.population
    with output.timed("compiling"):
        now = rounds.prepare(setup.everyone, attempt, rows, jax.device_get(state.best), state.round)
    state.begin_round(now)
