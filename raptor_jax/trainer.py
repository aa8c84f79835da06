"""The host loop: chunk, evaluate, log, save, results. No maths here."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from raptor_jax import checkpoints, evaluation, memory, population, progress
from raptor_jax import config as configs
from raptor_jax.config import Config
from raptor_jax.dynamics.files import DroneFile, save_drone, stack_for_training
from raptor_jax.dynamics.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.metrics import Curves, TensorBoard
from raptor_jax.population import Population
from raptor_jax.results import FILE, Results, print_table
from raptor_jax.storage import move_aside, write_json, write_text

CURVES = "curves.npz"
LOGS = "logs"


class Schedule(NamedTuple):
    """How a run is cut into calls of the jitted programs; steps are environment steps of one teacher."""

    warmup_iterations: int
    warmup_steps: int
    chunk_iterations: int
    chunk_steps: int
    chunk_updates: int
    chunks: int

    @property
    def total_steps(self) -> int:
        """Returns the steps of the whole run: the configured number, rounded up to a whole chunk."""
        return self.warmup_steps + self.chunks * self.chunk_steps


def schedule(config: Config) -> Schedule:
    """Returns the schedule of a configuration.

    Raises:
        UserError: the run would end before learning begins.
    """
    training = config.training
    environments = config.environment.environments_per_teacher
    warmup_iterations = -(-config.sac.n_warmup_steps // environments)
    warmup_steps = warmup_iterations * environments
    learning_steps = training.steps_per_teacher - warmup_steps
    if learning_steps <= 0:
        raise UserError(
            f"training.steps_per_teacher: {training.steps_per_teacher} ends before learning begins, after"
            f" sac.n_warmup_steps {config.sac.n_warmup_steps}; raise the one or lower the other"
        )
    per_iteration = population.steps_per_iteration(config)
    shortest = min(training.log_frequency, training.eval_frequency, training.checkpoint_frequency, learning_steps)
    iterations = max(1, shortest // per_iteration)
    steps = iterations * per_iteration
    updates = iterations * config.sac.actor_update_interval
    return Schedule(warmup_iterations, warmup_steps, iterations, steps, updates, -(-learning_steps // steps))


class Programs(NamedTuple):
    """The compiled programs of a run, one for each phase."""

    collect: jax.stages.Compiled
    train: jax.stages.Compiled
    select: jax.stages.Compiled
    judge: jax.stages.Compiled


def compile_programs(config: Config, plan: Schedule, shapes: Population, drones: Drone) -> Programs:
    """Compiles every phase from shapes alone."""
    training, actors = config.training, shapes.best.actor
    lowered = (
        population.collect.lower(config, shapes, drones, iterations=plan.warmup_iterations),
        population.train.lower(config, shapes, drones, iterations=plan.chunk_iterations),
        evaluation.evaluate.lower(config, actors, drones, training.eval_episodes, evaluation.SELECTION),
        evaluation.evaluate.lower(config, actors, drones, training.final_eval_episodes, evaluation.JUDGEMENT),
    )
    return Programs(*(program.compile() for program in lowered))


def train(config: Config, files: Sequence[DroneFile], output_dir: Path, overwrite: bool, console: Console) -> bool:
    """Trains one teacher for each drone and writes everything under `output_dir`.

    Args:
        config: settings.
        files: the drones, in the order of `load_directory`; teacher i flies files[i].
        output_dir: must not hold a run, unless `overwrite`, which moves that run aside.
        overwrite: see above.
        console: where the progress goes.

    Returns:
        Whether every teacher passed.

    Raises:
        UserError: something about the input, the memory or the disk rules the run out.
    """
    plan = schedule(config)
    drones = jax.tree.map(jnp.asarray, stack_for_training(files, config.environment))
    teacher_ids = list(range(len(files)))
    shapes = jax.eval_shape(lambda: population.create(config, drones, jnp.asarray(teacher_ids)))
    available = memory.available_bytes(jax.devices()[0])
    table = memory.plan(config, drones, shapes)
    memory.require_fit(table, config, len(files), available)
    _require_directory(output_dir, overwrite, checkpoints.estimated_bytes(shapes))

    started = time.perf_counter()
    programs = compile_programs(config, plan, shapes, drones)
    compiling = time.perf_counter() - started
    console.print(f"compiled in {compiling:.1f} s (the same shapes come from the cache next time)")
    table = table._replace(temporaries=max(table.temporaries, memory.temporaries(programs)))
    progress.print_memory(table, available, len(files), jax.devices()[0].device_kind, console)
    memory.require_fit(table, config, len(files), available)

    if output_dir.is_dir() and any(output_dir.iterdir()):
        console.print(f"moved the run that was in {output_dir} to {move_aside(output_dir)}")
    _write_inputs(output_dir, config, files)
    about = {"status": "running", "output_dir": str(output_dir), "config": config.model_dump()}
    results = Results(about, teacher_ids, files)
    results.run["timings"]["compiling"] = compiling
    _Run(config, plan, programs, drones, output_dir, results, console).run()
    print_table(results.teachers, config.training.pass_return, console)
    return results.all_passed


class _Run:
    """One training in progress: the population on the device, and everything that is written about it."""

    def __init__(
        self,
        config: Config,
        plan: Schedule,
        programs: Programs,
        drones: Drone,
        output_dir: Path,
        results: Results,
        console: Console,
    ) -> None:
        self.config, self.plan, self.programs, self.drones = config, plan, programs, drones
        self.output_dir, self.results, self.console = output_dir, results, console
        self.step = self.updates = 0
        self.teacher_ids = [teacher["teacher_id"] for teacher in results.teachers]
        self.active = np.ones(len(self.teacher_ids), bool)
        self.curves = Curves(self.teacher_ids)

    def run(self) -> None:
        """Trains and judges; whatever happens, `results.json` says in the end how far it came."""
        self._write_results()
        try:
            with ExitStack() as at_the_end:
                self._allocate(at_the_end)
                self._train()
                self._judge()
            self.results.run["status"] = "finished"
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise UserError(
                f"out of device memory after step {self.step};"
                " lower --sac.replay-capacity or train fewer teachers (--num-teachers)"
            ) from None
        finally:
            if self.results.run["status"] == "running":
                self.results.run["status"] = "interrupted"
            self._write_results()

    def _allocate(self, at_the_end: ExitStack) -> None:
        self.population: Population = population.create(self.config, self.drones, jnp.asarray(self.teacher_ids))
        own_curves = self.config.training.tensorboard_teachers
        self.tensorboard = TensorBoard(self.output_dir / LOGS, self.teacher_ids, own_curves)
        at_the_end.callback(self.tensorboard.close)
        self.checkpoints = checkpoints.Writer(self.output_dir, self.teacher_ids)
        at_the_end.callback(self.checkpoints.close)

    def _train(self) -> None:
        """Runs all chunks, with evaluations, logs and checkpoints in between."""
        with progress.bar(self.console, self.plan.total_steps, len(self.active)) as bar:
            self._chunk(self.programs.collect, self.plan.warmup_steps, 0)
            bar.advance(self.step, self.updates)
            self._evaluate(bar)
            for _ in range(self.plan.chunks):
                before = self.step
                self._chunk(self.programs.train, self.plan.chunk_steps, self.plan.chunk_updates)
                bar.advance(self.step, self.updates)
                last = self.step >= self.plan.total_steps
                if last or crossed(before, self.step, self.config.training.eval_frequency):
                    self._evaluate(bar)
                if last or crossed(before, self.step, self.config.training.checkpoint_frequency):
                    self.checkpoints.save(self.step, self.population)
        # The files that results.json names must be there before it says that the run is finished.
        self.checkpoints.wait()

    def _judge(self) -> None:
        """Evaluates the kept actors on seeds that chose nothing."""
        with self._timed("evaluating"):
            judgement = jax.device_get(self.programs.judge(self.population.best.actor, self.drones))
        self.results.set_judgement(judgement, self.config.training.pass_return, checkpoints.best_path(self.step))

    def _chunk(self, program: jax.stages.Compiled, steps: int, updates: int) -> None:
        with self._timed("training"):
            self.population, metrics = program(self.population, self.drones)
            values = {name: np.asarray(value) for name, value in vars(metrics).items()}
        self.step += steps
        self.updates += updates
        self.curves.add("train", self.step, values)
        self.tensorboard.add(self.step, {f"train/{name}": value for name, value in values.items()})
        self._report_frozen()

    def _report_frozen(self) -> None:
        active = np.asarray(self.population.active)
        for row in np.flatnonzero(self.active & ~active):
            self.results.set_frozen(int(row), self.step)
            drone = self.results.teachers[row]["drone"]
            self.console.print(
                f"[red]teacher {row:04d} ({drone}): its numbers became non-finite before step {self.step};"
                " frozen as it was before, the others go on[/]",
                soft_wrap=True,
            )
        self.active = active

    def _evaluate(self, bar: progress.Bar) -> None:
        with self._timed("evaluating"):
            found = self.programs.select(self.population.teachers.actor, self.drones)
            self.population = population.keep_best(self.population, found.mean_return, jnp.int32(self.step))
            values = {name: np.asarray(value) for name, value in vars(found).items()}
        values["reward"] = values.pop("mean_return")
        self.curves.add("eval", self.step, values)
        self.tensorboard.add(self.step, {"eval/reward": values["reward"]})
        best = np.asarray(self.population.best.mean_return)
        self.results.set_kept(best, self.population.best.step)
        bar.evaluated(self.step, values["reward"], best, int(np.sum(best > self.config.training.pass_return)))
        self.curves.save(self.output_dir / CURVES)
        self._write_results()

    def _write_results(self) -> None:
        training = self.results.run["timings"]["training"]
        self.results.run["step"] = self.step
        self.results.run["teacher_updates_per_second"] = self.updates * len(self.active) / max(training, 1e-9)
        write_json(self.output_dir / FILE, self.results.content())

    @contextmanager
    def _timed(self, purpose: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.results.run["timings"][purpose] += time.perf_counter() - started


def crossed(before: int, after: int, frequency: int) -> bool:
    """Returns whether a multiple of `frequency` lies in (before, after]."""
    return after // frequency > before // frequency


def _require_directory(output_dir: Path, overwrite: bool, checkpoint_bytes: int) -> None:
    """Raises UserError where a run cannot be written; changes nothing."""
    if output_dir.exists() and not output_dir.is_dir():
        raise UserError(f"{output_dir}: is a file; name a directory with --output-dir")
    if output_dir.is_dir() and any(output_dir.iterdir()):
        if not overwrite:
            raise UserError(
                f"{output_dir}: already holds a run; a run cannot be continued yet: keep it and name another directory"
                " with --output-dir, or pass --overwrite to move it aside and start anew"
            )
        if output_dir.resolve() in (Path.cwd(), *Path.cwd().parents):
            raise UserError(f"{output_dir}: holds the working directory, and cannot be moved aside; name another")
    parent = next(place for place in (output_dir.absolute(), *output_dir.absolute().parents) if place.exists())
    free = shutil.disk_usage(parent).free
    if checkpoint_bytes > free:
        raise UserError(
            f"{output_dir}: the checkpoints need {memory.readable_bytes(checkpoint_bytes)}, its disk has"
            f" {memory.readable_bytes(free)} free; make room or name another with --output-dir"
        )


def _write_inputs(output_dir: Path, config: Config, files: Sequence[DroneFile]) -> None:
    """Keeps the settings and the drones beside the checkpoints, the drones under their own names."""
    directory = output_dir / checkpoints.DIRECTORY
    try:
        directory.mkdir(parents=True)
        write_text(directory / "config.yaml", configs.dump(config))
    except OSError as error:
        raise UserError(f"{output_dir}: cannot be written: {error.strerror}; name another with --output-dir") from None
    for file in files:
        save_drone(directory / "dynamics" / f"{file.name}.json", file.drone, file.metadata)
