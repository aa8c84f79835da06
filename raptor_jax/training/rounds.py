"""A round of training: all teachers, or those of an extra round, on the devices, with their compiled programs."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from raptor_jax import evaluation, sac
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.population import blocks, sharding
from raptor_jax.population import sac as populations
from raptor_jax.population.best import Best
from raptor_jax.population.blocks import Blockwise
from raptor_jax.population.schedule import Schedule
from raptor_jax.population.state import ChunkMetrics, Population
from raptor_jax.utils.trees import take, tree_bytes


class AllTeachers(NamedTuple):
    """All T teachers of a run, from which a round takes its own."""

    mesh: Mesh
    """The devices."""
    config: Config
    """Settings of the run."""
    drones: Drone
    """Every array [T, ...], on the host."""
    teacher_ids: np.ndarray
    """[T] their identities, which seed them."""
    warm_start: sac.Parameters | None
    """The actor with which every teacher begins; None for random weights."""
    one: Population
    """Shapes of one teacher in the main round, [1, ...]."""
    block: int
    """How many teachers a device trains at once in the main round, and evaluates at once at the end."""


class Programs(NamedTuple):
    """The compiled programs of a round; each device runs them on its own teachers.

    `train` and `select` depend on the block; none depends on the number of the round or its length.
    """

    create: jax.stages.Compiled
    warm_up: jax.stages.Compiled | None
    """Collects transitions without learning; None if learning begins with the first step."""
    train: Blockwise
    select: Blockwise

    @property
    def temporary_bytes(self) -> int:
        """Returns the most that a device needs besides a program's arguments and results; 0 if XLA does not report it.

        The results of a training chunk take the place of its donated arguments.
        """
        whole = (program.memory_analysis() for program in (self.create, self.warm_up) if program is not None)
        found = (analysis.temp_size_in_bytes for analysis in whole if analysis is not None)
        return max(*found, self.train.temporary_bytes, self.select.temporary_bytes)


class Round(NamedTuple):
    """The teachers that are trained together, and their programs."""

    attempt: int
    """0 in the main round, then the number of the extra round."""
    rows: np.ndarray
    """[R] indices of its teachers among all T."""
    config: Config
    plan: Schedule
    drones: Drone
    """Every array [R', ...] on the devices: R, and repetitions of the last one: see `blocks.filled_up`."""
    teacher_ids: jax.Array
    """[R'] on the devices."""
    kept: Best | None
    """The kept networks with which its teachers continue, [R', ...] on the devices; None in the main round."""
    block: int
    """How many of its teachers a device trains at once."""
    programs: Programs

    def create(self) -> Population:
        """Returns the population before its first step."""
        return self.programs.create(self.drones, self.teacher_ids, np.int32(self.attempt), self.kept)

    def collect(self, population: Population) -> tuple[Population, ChunkMetrics]:
        """Returns the population, which is donated, after a flight without learning, and the metrics."""
        assert self.programs.warm_up is not None
        return self.programs.warm_up(population, self.drones)

    def train(self, population: Population) -> tuple[Population, ChunkMetrics]:
        """Returns the population, which is donated, after a chunk of training, and the metrics."""
        return self.programs.train(population, self.drones, np.int32(populations.total_updates(self.config)))

    @property
    def places(self) -> np.ndarray:
        """[R'] for each teacher on the devices, its index in `rows`."""
        return np.minimum(np.arange(self.teacher_ids.size), self.rows.size - 1)

    def of_real_teachers(self, values: Any) -> Any:
        """Returns arrays [R', ...] on the devices as NumPy arrays [R, ...]."""
        return take(sharding.gather(values), slice(self.rows.size))

    def among_all(self, values: jax.Array, teachers: int) -> np.ndarray:
        """Returns values [R'] as float32 of all teachers [T]; NaN for those that are not in the round."""
        of_all = np.full(teachers, np.nan, np.float32)
        of_all[self.rows] = self.of_real_teachers(values)
        return of_all


def config_of(config: Config, attempt: int) -> Config:
    """Returns the settings of a round: from the second extra round on, each is twice as long as the one before."""
    longer = {"steps_per_teacher": config.training.steps_per_teacher * 2 ** max(0, attempt - 1)}
    return config.model_copy(update={"training": config.training.model_copy(update=longer)})


def most_steps(config: Config) -> int:
    """Returns the environment steps of a teacher that is trained in all rounds.

    Raises:
        UserError: they exceed the range of the counters.
    """
    configs = [config_of(config, attempt) for attempt in range(config.training.extra_rounds + 1)]
    steps = sum(populations.schedule(of_round).total_steps for of_round in configs)
    if steps >= 2**31:
        raise UserError(
            f"training.steps_per_teacher: {config.training.steps_per_teacher} and the extra rounds make {steps:,}"
            " steps in whole chunks, which exceeds the limit of 2^31 - 1; lower it or training.extra_rounds"
        )
    return steps


def all_teachers(
    mesh: Mesh, config: Config, drones: Drone, teacher_ids: np.ndarray, warm_start: sac.Parameters | None
) -> AllTeachers:
    """Returns the teachers of a run; arguments as in `AllTeachers`."""
    create = functools.partial(populations.create, config, warm_start=warm_start)
    one = jax.eval_shape(create, take(drones, slice(1)), teacher_ids[:1])
    found = AllTeachers(mesh, config, drones, teacher_ids, warm_start, one, block=1)
    return found._replace(block=block_size(found, teacher_ids.size))


def block_size(everyone: AllTeachers, teachers: int) -> int:
    """Returns how many of a round's teachers a device trains at once."""
    of_device, of_everyone = (-(-count // everyone.mesh.size) for count in (teachers, everyone.teacher_ids.size))
    learner_bytes = tree_bytes(everyone.one.teachers)
    return blocks.block_size(everyone.config, sharding.platform(everyone.mesh), learner_bytes, of_device, of_everyone)


def prepare(
    everyone: AllTeachers, attempt: int, rows: np.ndarray, kept: Best | None = None, before: Round | None = None
) -> Round:
    """Puts the drones of a round on the devices and compiles its programs.

    Args:
        everyone: the teachers of the run.
        attempt: see `Round`.
        rows: see `Round`.
        kept: kept networks of all T teachers, on the host, with which they continue; None in the main round.
        before: the round before, whose programs are reused if they have the same shapes.
    """
    mesh, config = everyone.mesh, config_of(everyone.config, attempt)
    plan, block = populations.schedule(config), block_size(everyone, rows.size)
    filled = blocks.filled_up(rows, mesh, block)
    placed = sharding.shard(mesh, take(everyone.drones, filled))
    ids = sharding.shard(mesh, everyone.teacher_ids[filled])
    begun = None if kept is None else sharding.shard(mesh, take(kept, filled))
    # The length of a round is an argument of its programs, but the length of a chunk is compiled in.
    again = before.programs if before and before.plan.chunk_iterations == plan.chunk_iterations else None
    programs = compiled(mesh, config, placed, ids, everyone.warm_start, block, begun, again)
    return Round(attempt, rows, config, plan, placed, ids, begun, block, programs)


def compiled(
    mesh: Mesh,
    config: Config,
    drones: Drone,
    teacher_ids: jax.Array | jax.ShapeDtypeStruct,
    warm_start: sac.Parameters | None,
    block: int,
    kept: Best | None = None,
    before: Programs | None = None,
) -> Programs:
    """Compiles the programs of a round; shapes and a description of the devices suffice.

    Args:
        mesh: the devices.
        config: settings of the round.
        drones: every array [R', ...], or its shape.
        teacher_ids: [R'], or its shape.
        warm_start: see `AllTeachers`.
        block: see `Round`.
        kept: see `Round`, or its shape.
        before: programs with the same settings and chunks, which are reused for blocks of the same shapes.
    """
    plan, number = populations.schedule(config), jax.ShapeDtypeStruct((), np.int32)
    create = functools.partial(populations.create, config, warm_start=warm_start)
    train = functools.partial(populations.train, config, iterations=plan.chunk_iterations)
    collect = functools.partial(populations.collect, config, iterations=plan.warmup_iterations)

    def evaluate(actors: sac.Parameters, drones: Drone) -> evaluation.Evaluation:
        return evaluation.evaluate(config, actors, drones, config.training.eval_episodes, evaluation.SELECTION)

    population = jax.eval_shape(create, drones, teacher_ids, number, kept)
    to_train, to_evaluate = (population, drones, number), (population.teachers.actor, drones)
    with sharding.compiling(mesh) as start:
        starting = functools.partial(blocks.start_compiling, start, mesh, block)
        # The longest first. A window as one CUDA graph takes 43 ms instead of 48 on an H200 (docs/speed.md).
        again = before.train.run if before else None
        training = starting(train, to_train, again, donate=True, loops_in_graphs=config.sac.horizon > 0)
        selection = starting(evaluate, to_evaluate, before.select.run if before else None)
        creation = start(create, drones, teacher_ids, number, kept, runs_once=True)
        collection = start(collect, population, drones, donate=True) if plan.warmup_iterations else None
    return Programs(
        create=creation.result(),
        warm_up=collection.result() if collection else None,
        train=training(),
        select=selection(),
    )
