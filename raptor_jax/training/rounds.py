"""A round of training: all teachers or those to train on, placed on the devices, with their compiled programs."""

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
from raptor_jax.population.best import Best
from raptor_jax.population.schedule import Schedule
from raptor_jax.population.state import Population
from raptor_jax.utils.trees import leading_size, take


class Programs(NamedTuple):
    """The compiled programs of a round; each device runs them on its own teachers."""

    create: jax.stages.Compiled
    warm_up: jax.stages.Compiled | None
    """Collects transitions without learning; None where learning begins with the first step."""
    train: jax.stages.Compiled
    select: jax.stages.Compiled


class Round(NamedTuple):
    """The teachers that are trained together, and how."""

    attempt: int
    """0 in the main round, then the number of the extra round."""
    rows: np.ndarray
    """[R] indices of its teachers among all T."""
    config: Config
    plan: Schedule
    drones: Drone
    """Every array [R', ...] on the devices: R, and repetitions of the last one: see `sharding.padded`."""
    teacher_ids: jax.Array
    """[R'] on the devices."""
    kept: Best | None
    """What its teachers continue with, every array [R', ...] on the devices; None in the main round."""
    programs: Programs

    def create(self) -> Population:
        """Returns the population before its first step."""
        return self.programs.create(self.drones, self.teacher_ids, self.kept)

    def of_real_teachers(self, values: Any) -> Any:
        """Returns arrays [R', ...] on the devices as NumPy arrays [R, ...]."""
        return take(sharding.gather(values), slice(self.rows.size))

    def among_all(self, values: jax.Array, teachers: int) -> np.ndarray:
        """Returns values [R'] as float32 of all the teachers [T]; NaN for those that are not in the round."""
        of_all = np.full(teachers, np.nan, np.float32)
        of_all[self.rows] = self.of_real_teachers(values)
        return of_all


def config_of(config: Config, attempt: int) -> Config:
    """Returns the settings of a round: from the second extra round on, each is twice as long as the one before."""
    longer = {"steps_per_teacher": config.training.steps_per_teacher * 2 ** max(0, attempt - 1)}
    return config.model_copy(update={"training": config.training.model_copy(update=longer)})


def most_steps(config: Config) -> int:
    """Returns the environment steps of a teacher that goes through all rounds.

    Raises:
        UserError: they exceed the range of the counters.
    """
    attempts = range(config.training.extra_rounds + 1)
    steps = sum(populations.schedule(config_of(config, attempt)).total_steps for attempt in attempts)
    if steps >= 2**31:
        raise UserError(
            f"training.steps_per_teacher: {config.training.steps_per_teacher} and the extra rounds make {steps:,}"
            " steps in whole chunks, which exceeds the limit of 2^31 - 1; lower it or training.extra_rounds"
        )
    return steps


def shapes(config: Config, drones: Drone, warm_start: sac.Parameters | None) -> Population:
    """Returns the shapes of a population on drones [T, ...]."""
    teachers = leading_size(drones)
    return jax.eval_shape(lambda: populations.create(config, drones, jnp.arange(teachers), warm_start))


def prepare(
    mesh: Mesh,
    config: Config,
    attempt: int,
    rows: np.ndarray,
    drones: Drone,
    teacher_ids: np.ndarray,
    warm_start: sac.Parameters | None,
    kept: Best | None = None,
) -> Round:
    """Puts the drones of a round on the devices and compiles its programs.

    Args:
        mesh: the devices.
        config: settings of the run.
        attempt: see `Round`.
        rows: see `Round`.
        drones: of all T teachers, on the host.
        teacher_ids: [T] their identities.
        warm_start: the actor that every teacher begins with; None for random weights.
        kept: of all T teachers, on the host: what they continue with; None in the main round.
    """
    config = config_of(config, attempt)
    filled = sharding.padded(rows, mesh)
    placed = sharding.shard(mesh, take(drones, filled))
    ids = sharding.shard(mesh, teacher_ids[filled])
    plan = populations.schedule(config)
    begun = None if kept is None else sharding.shard(mesh, take(kept, filled))
    programs = compiled(mesh, config, attempt, placed, ids, warm_start, begun)
    return Round(attempt, rows, config, plan, placed, ids, begun, programs)


def compiled(
    mesh: Mesh,
    config: Config,
    attempt: int,
    drones: Drone,
    teacher_ids: jax.Array | jax.ShapeDtypeStruct,
    warm_start: sac.Parameters | None,
    kept: Best | None = None,
) -> Programs:
    """Compiles the programs of a round; shapes and a description of the devices suffice.

    Args:
        mesh: the devices.
        config: settings of the round.
        attempt: see `Round`.
        drones: every array [R', ...], or its shape.
        teacher_ids: [R'], or its shape.
        warm_start: see `prepare`.
        kept: see `Round`, or its shape.
    """
    plan = populations.schedule(config)

    def create(drones: Drone, teacher_ids: jax.Array, kept: Best | None) -> Population:
        return populations.create(config, drones, teacher_ids, warm_start, attempt, kept)

    def evaluate(actors: sac.Parameters, drones: Drone) -> evaluation.Evaluation:
        return evaluation.evaluate(config, actors, drones, config.training.eval_episodes, evaluation.SELECTION)

    population = jax.eval_shape(create, drones, teacher_ids, kept)
    train = functools.partial(
        populations.train, config, iterations=plan.chunk_iterations, platform=sharding.platform(mesh)
    )
    warm_up = None
    if plan.warmup_iterations:
        collect = functools.partial(populations.collect, config, iterations=plan.warmup_iterations)
        warm_up = sharding.compile_sharded(mesh, collect, population, drones, donate=True)
    return Programs(
        create=sharding.compile_sharded(mesh, create, drones, teacher_ids, kept, runs_once=True),
        warm_up=warm_up,
        train=sharding.compile_sharded(mesh, train, population, drones, donate=True),
        select=sharding.compile_sharded(mesh, evaluate, population.teachers.actor, drones),
    )
