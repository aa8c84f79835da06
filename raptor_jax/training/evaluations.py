"""The evaluations of a training: during a round, to keep the best actors; at the end, of the actors that were kept."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from raptor_jax import evaluation, sac
from raptor_jax.drones.parameters import Drone
from raptor_jax.evaluation import Evaluation
from raptor_jax.population import blocks, sharding
from raptor_jax.runs import layout
from raptor_jax.training import progress
from raptor_jax.training.output import Output
from raptor_jax.training.setup import Setup
from raptor_jax.training.state import RunState
from raptor_jax.utils.trees import take


def evaluate_and_keep(setup: Setup, output: Output, state: RunState, bar: progress.Bar) -> None:
    """Evaluates the actors in training, and keeps each with a higher return than its teacher's best; no checkpoint."""
    teachers = state.population.teachers
    with output.timed("evaluating"):
        found = state.round.programs.select(teachers.actor, state.round.drones)
        state.best = setup.keep_best(
            state.best, state.round.rows, teachers, found.mean_return, found.std_return, jnp.int32(state.step)
        )
        values = {name: state.round.among_all(value, len(setup.job.files)) for name, value in vars(found).items()}
    values["reward"] = values.pop("mean_return")
    if output.curves.add("eval", state.step, values):
        output.log(state.step, {"eval/reward": values["reward"]})
    kept = np.asarray(state.best.mean_return)
    output.results.set_kept(kept, state.best.step)
    passing = int(np.sum(kept > setup.config.training.pass_return))
    bar.evaluated(state.step, values["reward"], kept, passing)


def evaluate_kept(setup: Setup, output: Output, state: RunState) -> None:
    """Evaluates the kept actors in episodes that were not used to select them; decides which teachers pass."""
    config, mesh, teachers = setup.config, setup.mesh, len(setup.job.files)
    block = setup.everyone.block
    filled = blocks.filled_up(np.arange(teachers), mesh, block)
    drones = sharding.shard(mesh, take(setup.everyone.drones, filled))
    actors = sharding.shard(mesh, take(jax.tree.map(np.asarray, state.best.actor), filled))
    episodes = config.training.final_eval_episodes

    def deterministic(actors: sac.Parameters, drones: Drone) -> Evaluation:
        return evaluation.evaluate(config, actors, drones, episodes, evaluation.FINAL)

    def stochastic(actors: sac.Parameters, drones: Drone) -> Evaluation:
        return evaluation.evaluate(config, actors, drones, episodes, evaluation.FINAL, sampled=True)

    with output.timed("compiling"):
        with sharding.compiling(mesh) as start:
            starting = functools.partial(blocks.start_compiling, start, mesh, block)
            started = [starting(each, (actors, drones)) for each in (deterministic, stochastic)]
        programs = [program() for program in started]
    with output.timed("evaluating"):
        final, sampled = (sharding.gather(program(actors, drones)) for program in programs)
    output.results.set_final_evaluation(final, config.training.pass_return, layout.best_arrays(state.step))
    output.results.set_stochastic(sampled)
