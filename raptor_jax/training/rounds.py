"""A round of training: all teachers, or those of them that need another attempt, and the programs that train them."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from raptor_jax import evaluation, sac
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.population import sac as populations
from raptor_jax.population import sharding
from raptor_jax.population.per_teacher import revive
from raptor_jax.population.schedule import Schedule
from raptor_jax.population.state import Population
from raptor_jax.sac import replay as replays


class Programs(NamedTuple):
    """The compiled programs of a round, each for every device's share of its teachers."""

    create: jax.stages.Compiled
    warm_up: jax.stages.Compiled | None
    """None where learning begins with the first step."""
    train: jax.stages.Compiled
    select: jax.stages.Compiled


class Round(NamedTuple):
    """A population on its way through a training."""

    attempt: int
    """0 in the main round, then the number of the rescue round."""
    rows: np.ndarray
    """[R] places of its teachers among all T."""
    config: Config
    plan: Schedule
    drones: Drone
    """Every array [R', ...] on the devices: R and what fills the devices evenly."""
    teacher_ids: jax.Array
    """[R'] on the devices."""
    programs: Programs

    def create(self) -> Population:
        """Returns the population before its first step."""
        return self.programs.create(self.drones, self.teacher_ids)

    def of_real_teachers(self, values: Any) -> Any:
        """Returns arrays [R', ...] of the devices as NumPy arrays [R, ...]."""
        return jax.tree.map(lambda leaf: leaf[: self.rows.size], sharding.fetch(values))

    def revived(self, mesh: Mesh, population: Population, broken: np.ndarray, times: np.ndarray) -> Population:
        """Returns a population whose broken teachers go on with fresh draws, and with no broken rows in their replay.

        Args:
            mesh: the devices.
            population: donated.
            broken: [R] bool.
            times: [R] how often each teacher has been put back by now.
        """

        def mend(population: Population, broken: jax.Array, times: jax.Array) -> Population:
            if population.replay is not None:
                population = population.replace(replay=replays.repaired(population.replay, broken))
            return revive(population, broken, times)

        places = sharding.padded(np.arange(self.rows.size), mesh)
        marks = sharding.spread(mesh, (broken[places], times[places].astype(np.int32)))
        return sharding.on_each(mesh, mend, population, *marks, donate=True)(population, *marks)


def config_of(config: Config, attempt: int) -> Config:
    """Returns the settings of a round: each rescue round is twice as long as the one before."""
    longer = {"steps_per_teacher": config.training.steps_per_teacher * 2**attempt}
    return config.model_copy(update={"training": config.training.model_copy(update=longer)})


def most_steps(config: Config) -> int:
    """Returns the steps of a teacher that has to go through all rounds.

    Raises:
        UserError: they are more than can be counted.
    """
    attempts = range(config.training.rescue_rounds + 1)
    steps = sum(populations.schedule(config_of(config, attempt)).total_steps for attempt in attempts)
    if steps >= 2**31:
        raise UserError(
            f"training.steps_per_teacher: {config.training.steps_per_teacher} and the rescue rounds make {steps:,}"
            " steps in whole chunks, more than can be counted (2^31 - 1); lower it or training.rescue_rounds"
        )
    return steps


def shapes(config: Config, drones: Drone, start: sac.Parameters | None) -> Population:
    """Returns the shapes of a population on drones [T, ...]."""
    teachers = jax.tree.leaves(drones)[0].shape[0]
    return jax.eval_shape(lambda: populations.create(config, drones, jnp.arange(teachers), start))


def prepare(
    mesh: Mesh,
    config: Config,
    attempt: int,
    rows: np.ndarray,
    drones: Drone,
    teacher_ids: np.ndarray,
    start: sac.Parameters | None,
) -> Round:
    """Puts the drones of a round on the devices and compiles its programs.

    Args:
        mesh: the devices.
        config: settings of the run.
        attempt: see `Round`.
        rows: see `Round`.
        drones: of all T teachers, in this process's memory.
        teacher_ids: [T] their identities.
        start: the actor that the teachers begin with; None for random weights.
    """
    config = config_of(config, attempt)
    filled = sharding.padded(rows, mesh)
    placed = sharding.spread(mesh, jax.tree.map(lambda leaf: leaf[filled], drones))
    ids = sharding.spread(mesh, teacher_ids[filled])
    plan = populations.schedule(config)
    return Round(attempt, rows, config, plan, placed, ids, compiled(mesh, config, attempt, placed, ids, start))


def compiled(
    mesh: Mesh,
    config: Config,
    attempt: int,
    drones: Drone,
    teacher_ids: jax.Array | jax.ShapeDtypeStruct,
    start: sac.Parameters | None,
) -> Programs:
    """Compiles the programs of a round, from shapes alone: the devices need not be there.

    Args:
        mesh: the devices.
        config: settings of the round.
        attempt: see `Round`.
        drones: every array [R', ...], or its shape.
        teacher_ids: [R'], or its shape.
        start: as of `prepare`.
    """
    plan = populations.schedule(config)

    def create(drones: Drone, teacher_ids: jax.Array) -> Population:
        return populations.create(config, drones, teacher_ids, start, attempt)

    def evaluate(actors: sac.Parameters, drones: Drone) -> evaluation.Evaluation:
        return evaluation.evaluate(config, actors, drones, config.training.eval_episodes, evaluation.SELECTION)

    population = jax.eval_shape(create, drones, teacher_ids)
    train = functools.partial(
        populations.train, config, iterations=plan.chunk_iterations, platform=sharding.platform(mesh)
    )
    warm_up = None
    if plan.warmup_iterations:
        collect = functools.partial(populations.collect, config, iterations=plan.warmup_iterations)
        warm_up = sharding.on_each(mesh, collect, population, drones, donate=True)
    return Programs(
        create=sharding.on_each(mesh, create, drones, teacher_ids),
        warm_up=warm_up,
        train=sharding.on_each(mesh, train, population, drones, donate=True),
        select=sharding.on_each(mesh, evaluate, population.teachers.actor, drones),
    )
