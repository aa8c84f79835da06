"""The host loop: chunk, evaluate, log, save, results. No maths here."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from raptor_jax import checkpoints, evaluation, memory, population, progress
from raptor_jax import config as configs
from raptor_jax.config import Config
from raptor_jax.dynamics.files import DroneFile, save_drone, stack_for_training
from raptor_jax.dynamics.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.metrics import Curves, TensorBoard
from raptor_jax.population import Population
from raptor_jax.results import FILE, Results, print_table
from raptor_jax.storage import write_json, write_text

CURVES = "curves.npz"
LOGS = "logs"


class Schedule(NamedTuple):
    """How a run is cut into calls of the jitted programs; steps are environment steps of one teacher."""

    warmup_iterations: int
    warmup_steps: int
    chunk_iterations: int
    chunk_steps: int
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
    chunk_iterations = max(1, shortest // per_iteration)
    chunk_steps = chunk_iterations * per_iteration
    return Schedule(warmup_iterations, warmup_steps, chunk_iterations, chunk_steps, -(-learning_steps // chunk_steps))


class Programs(NamedTuple):
    """The compiled programs of a run, one for each phase."""

    collect: Any
    train: Any


def train(config: Config, files: Sequence[DroneFile], output_dir: Path, overwrite: bool, console: Console) -> bool:
    """Trains one teacher for each drone and writes everything under `output_dir`.

    Args:
        config: settings.
        files: the drones; teacher i flies files[i].
        output_dir: must not hold a run, unless `overwrite`, which moves that run aside.
        overwrite: see above.
        console: where the progress goes.

    Returns:
        Whether every teacher passed.

    Raises:
        UserError: something about the input, the memory or the disk rules the run out; nothing was trained.
    """
    plan = schedule(config)
    drones = jax.tree.map(jnp.asarray, stack_for_training(files, config.environment))
    teacher_ids = list(range(len(files)))
    shapes = jax.eval_shape(lambda: population.create(config, drones, jnp.asarray(teacher_ids)))
    table = memory.plan(config, drones, shapes, jax.devices()[0])
    _print_memory(table, len(files), console)
    memory.require_fit(table, len(files))
    _prepare_directory(output_dir, overwrite, checkpoints.estimated_bytes(shapes), console)
    _write_inputs(output_dir, config, files)

    about = {"status": "running", "output_dir": str(output_dir), "config": config.model_dump()}
    results = Results(about, teacher_ids, files)
    run = _Run(config, plan, drones, output_dir, teacher_ids, results, console)
    try:
        run.train()
        run.judge()
    except BaseException:
        results.run["status"] = "interrupted"
        raise
    finally:
        run.close()
    print_table(results.teachers, config.training.pass_return, console)
    return results.all_passed


class _Run:
    """One training in progress: the population on the device, and everything that is written about it."""

    def __init__(
        self,
        config: Config,
        plan: Schedule,
        drones: Drone,
        output_dir: Path,
        teacher_ids: list[int],
        results: Results,
        console: Console,
    ) -> None:
        self.config, self.plan, self.drones, self.output_dir = config, plan, drones, output_dir
        self.results, self.console = results, console
        self.step = 0
        self.seconds = {"compiling": 0.0, "training": 0.0, "evaluating": 0.0}
        self.population: Population = population.create(config, drones, jnp.asarray(teacher_ids))
        self.active = np.ones(len(teacher_ids), bool)
        self.curves = Curves(teacher_ids)
        self.tensorboard = TensorBoard(output_dir / LOGS, teacher_ids, config.training.tensorboard_teachers)
        self.checkpoints = checkpoints.Writer(output_dir, teacher_ids)

    def train(self) -> None:
        """Runs all chunks, with evaluations, logs and checkpoints in between."""
        programs = self._compile()
        with progress.bar(self.console, self.plan.total_steps, len(self.active)) as bar:
            self._chunk(programs.collect, self.plan.warmup_steps)
            self._evaluate(bar)
            bar.advance(self.step, 0)
            for _ in range(self.plan.chunks):
                before = self.step
                self._chunk(programs.train, self.plan.chunk_steps)
                last = self.step >= self.plan.total_steps
                if last or crossed(before, self.step, self.config.training.eval_frequency):
                    self._evaluate(bar)
                if last or crossed(before, self.step, self.config.training.checkpoint_frequency):
                    self.checkpoints.save(self.step, self.population)
                bar.advance(self.step, int(self.population.updates))
        # The files that results.json names must be there before it says that the run is finished.
        self.checkpoints.wait()

    def judge(self) -> None:
        """Evaluates the kept actors on seeds that chose nothing, and writes the final results."""
        training = self.config.training
        with self._timed("evaluating"):
            judgement = evaluation.evaluate(
                self.config, self.population.best.actor, self.drones, training.final_eval_episodes, evaluation.JUDGEMENT
            )
            judgement = jax.block_until_ready(judgement)
        final_path = f"{checkpoints.DIRECTORY}/best/{self.step}"
        self.results.set_judgement(judgement, training.pass_return, final_path)
        self.results.run["status"] = "finished"

    def close(self) -> None:
        """Writes out what is known; also after an error."""
        self.checkpoints.close()
        self.tensorboard.close()
        self._write()

    def _compile(self) -> Programs:
        with self._timed("compiling"):
            programs = [
                program.lower(self.config, self.population, self.drones, iterations=iterations).compile()
                for program, iterations in (
                    (population.collect, self.plan.warmup_iterations),
                    (population.train, self.plan.chunk_iterations),
                )
            ]
        seconds = self.seconds["compiling"]
        self.console.print(f"compiled in {seconds:.1f} s (a later run of the same shape takes it from the cache)")
        return Programs(*programs)

    def _chunk(self, program: Any, steps: int) -> None:
        with self._timed("training"):
            self.population, metrics = program(self.population, self.drones)
            values = {f"train/{name}": np.asarray(value) for name, value in vars(metrics).items()}
        self.step += steps
        self.curves.add("train", self.step, {tag.removeprefix("train/"): value for tag, value in values.items()})
        self.tensorboard.add(self.step, values)
        self._report_frozen()

    def _report_frozen(self) -> None:
        active = np.asarray(self.population.active)
        for row in np.flatnonzero(self.active & ~active):
            self.results.set_frozen(int(row), self.step)
            drone = self.results.teachers[row]["drone"]
            self.console.print(
                f"[red]teacher {row:04d} ({drone}): its numbers became non-finite before step {self.step};"
                " frozen as it was before, the others go on[/]"
            )
        self.active = active

    def _evaluate(self, bar: progress.Bar) -> None:
        training = self.config.training
        with self._timed("evaluating"):
            found = evaluation.evaluate(
                self.config, self.population.teachers.actor, self.drones, training.eval_episodes, evaluation.SELECTION
            )
            self.population = population.keep_best(self.population, found.mean_return, jnp.int32(self.step))
            values = {name: np.asarray(value) for name, value in vars(found).items()}
        values["reward"] = values.pop("mean_return")
        self.curves.add("eval", self.step, values)
        self.tensorboard.add(self.step, {"eval/reward": values["reward"]})
        best = np.asarray(self.population.best.mean_return)
        self.results.set_kept(best, self.population.best.step)
        bar.evaluated(self.step, values["reward"], best, int(np.sum(best > training.pass_return)))
        self._write()

    def _write(self) -> None:
        updates = int(self.population.updates) * len(self.active)
        self.results.run["step"] = self.step
        self.results.run["seconds"] = {name: round(value, 3) for name, value in self.seconds.items()}
        self.results.run["teacher_updates_per_second"] = round(updates / max(self.seconds["training"], 1e-9), 1)
        self.curves.save(self.output_dir / CURVES)
        write_json(self.output_dir / FILE, self.results.content())

    @contextmanager
    def _timed(self, purpose: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[purpose] += time.perf_counter() - started


def crossed(before: int, after: int, frequency: int) -> bool:
    """Returns whether a multiple of `frequency` lies in (before, after]."""
    return after // frequency > before // frequency


def _prepare_directory(output_dir: Path, overwrite: bool, checkpoint_bytes: int, console: Console) -> None:
    if output_dir.exists() and not output_dir.is_dir():
        raise UserError(f"{output_dir}: is a file; name a directory with --output-dir")
    if output_dir.is_dir() and any(output_dir.iterdir()):
        if not overwrite:
            raise UserError(
                f"{output_dir}: already holds a run; keep it and name another directory with --output-dir,"
                " or pass --overwrite to move it aside and start anew"
            )
        console.print(f"moved the run that was in {output_dir} to {checkpoints.move_aside(output_dir)}")
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output_dir}: cannot be made: {error.strerror}; name another with --output-dir") from None
    free = shutil.disk_usage(output_dir).free
    if checkpoint_bytes > free:
        raise UserError(
            f"{output_dir}: the checkpoints need {memory.readable_bytes(checkpoint_bytes)}, its disk has"
            f" {memory.readable_bytes(free)} free; make room or name another with --output-dir"
        )


def _write_inputs(output_dir: Path, config: Config, files: Sequence[DroneFile]) -> None:
    """Keeps the settings and the drones beside the checkpoints."""
    directory = output_dir / checkpoints.DIRECTORY
    write_text(directory / "config.yaml", configs.dump(config))
    for row, file in enumerate(files):
        save_drone(directory / "dynamics" / f"{row:04d}.json", file.drone, file.metadata)


def _print_memory(table: memory.MemoryTable, teachers: int, console: Console) -> None:
    console.print(f"Memory for {teachers} teachers on {jax.devices()[0].device_kind}:")
    rows = Table("purpose")
    rows.add_column("size", justify="right")
    for purpose, size in {**table._asdict(), "total": table.total}.items():
        rows.add_row(purpose, memory.readable_bytes(size))
    console.print(rows)
