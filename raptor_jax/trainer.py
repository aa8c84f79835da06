"""The host loop: chunk, evaluate, log, save, results. No maths here."""

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.markup import escape

from raptor_jax import checkpoints, evaluation, memory, progress, sac, starts
from raptor_jax import config as configs
from raptor_jax.config import Config
from raptor_jax.dynamics.files import DroneFile, save_drone, stack_for_training
from raptor_jax.dynamics.parameters import Drone
from raptor_jax.errors import UserError, printable
from raptor_jax.metrics import CURVES, Curves, TensorBoard
from raptor_jax.population import apg as apg_population
from raptor_jax.population import best
from raptor_jax.population import sac as sac_population
from raptor_jax.population.schedule import Schedule, crossed
from raptor_jax.results import FILE, Results, print_table
from raptor_jax.storage import move_aside, write_json, write_text

LOGS = "logs"
ALGORITHMS: dict[str, Any] = {"apg": apg_population, "sac": sac_population}
"""What a population learns by; both modules have `schedule`, `create`, `train` and `actors`, and sac `collect`."""


class Programs(NamedTuple):
    """The compiled programs of a round; the first two are the same two for an algorithm without a warm-up."""

    warm_up: jax.stages.Compiled
    train: jax.stages.Compiled
    select: jax.stages.Compiled


def compile_programs(config: Config, plan: Schedule, population: Any, drones: Drone) -> Programs:
    """Compiles the programs of a population from its shapes alone."""
    algorithm = ALGORITHMS[config.training.algorithm]
    train = algorithm.train.lower(config, population, drones, iterations=plan.chunk_iterations).compile()
    warm_up = train
    if plan.warmup_iterations:
        warm_up = algorithm.collect.lower(config, population, drones, iterations=plan.warmup_iterations).compile()
    select = evaluation.evaluate.lower(
        config, algorithm.actors(population), drones, config.training.eval_episodes, evaluation.SELECTION
    )
    return Programs(warm_up, train, select.compile())


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
    plan = ALGORITHMS[config.training.algorithm].schedule(config)
    start = starts.load(config)
    drones = jax.tree.map(jnp.asarray, stack_for_training(files, config.environment))
    teacher_ids = list(range(len(files)))
    shapes = _shapes(config, drones, start)
    kept = jax.eval_shape(best.create, ALGORITHMS[config.training.algorithm].actors(shapes))
    available = memory.available_bytes(jax.devices()[0])
    table = memory.plan(config, drones, shapes, kept)
    memory.require_fit(table, config, len(files), available)
    _require_directory(output_dir, overwrite, checkpoints.estimated_bytes(kept, table.learner))

    started = time.perf_counter()
    programs = compile_programs(config, plan, shapes, drones)
    judge = evaluation.evaluate.lower(
        config, kept.actor, drones, config.training.final_eval_episodes, evaluation.JUDGEMENT
    ).compile()
    compiling = time.perf_counter() - started
    console.print(f"compiled in {compiling:.1f} s (the same shapes come from the cache next time)")
    table = table._replace(temporaries=max(table.temporaries, memory.temporaries((*programs, judge))))
    progress.print_memory(table, available, len(files), jax.devices()[0].device_kind, console)
    memory.require_fit(table, config, len(files), available)

    if output_dir.is_dir() and any(output_dir.iterdir()):
        progress.say(console, f"moved the run that was in {output_dir} to {move_aside(output_dir)}")
    _write_inputs(output_dir, config, files)
    about = {"status": "running", "output_dir": str(output_dir), "config": config.model_dump()}
    results = Results(about, teacher_ids, files)
    results.run["timings"]["compiling"] = compiling
    everyone = _Round(0, np.arange(len(files)), config, plan, programs, drones)
    _Run(everyone, judge, start, output_dir, results, console).run()
    print_table(results.teachers, config.training.pass_return, console)
    return results.all_passed


def _shapes(config: Config, drones: Drone, start: sac.Parameters | None) -> Any:
    """Returns the shapes of a population."""
    count = drones.dynamics.mass.shape[0]
    create = ALGORITHMS[config.training.algorithm].create
    return jax.eval_shape(lambda: create(config, drones, jnp.arange(count), start))


class _Round(NamedTuple):
    """A population on its way through a training: all teachers, or those of them that need another attempt."""

    attempt: int
    """0 in the main round, then the number of the rescue round."""
    rows: np.ndarray
    """[R] places of its teachers among all T."""
    config: Config
    plan: Schedule
    programs: Programs
    drones: Drone
    """Every array [R, ...]."""


class _Run:
    """One training in progress: the population on the device, and everything that is written about it."""

    def __init__(
        self,
        main_round: _Round,
        judge: jax.stages.Compiled,
        start: sac.Parameters | None,
        output_dir: Path,
        results: Results,
        console: Console,
    ) -> None:
        self.main_round, self.judge, self.start = main_round, judge, start
        self.config, self.drones = main_round.config, main_round.drones
        self.algorithm = ALGORITHMS[self.config.training.algorithm]
        self.output_dir, self.results, self.console = output_dir, results, console
        self.step = 0
        self.teacher_updates = 0
        self.teacher_ids = [teacher["teacher_id"] for teacher in results.teachers]
        self.curves = Curves(self.teacher_ids)

    def run(self) -> None:
        """Trains and judges; whatever happens, `results.json` says in the end how far it came."""
        self._write_results()
        try:
            with ExitStack() as at_the_end:
                self._open(at_the_end)
                self._train_all_rounds()
                self._judge()
            self.results.run["status"] = "finished"
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise UserError(
                f"out of device memory after step {self.step}; train fewer teachers (--num-teachers), or lower"
                f" {memory.LARGEST[self.config.training.algorithm]}"
            ) from None
        finally:
            if self.results.run["status"] == "running":
                self.results.run["status"] = "interrupted"
            self._write_results()

    def _open(self, at_the_end: ExitStack) -> None:
        own_curves = self.config.training.tensorboard_teachers
        self.tensorboard = TensorBoard(self.output_dir / LOGS, self.teacher_ids, own_curves)
        at_the_end.callback(self.tensorboard.close)
        self.checkpoints = checkpoints.Writer(self.output_dir, self.teacher_ids)
        at_the_end.callback(self.checkpoints.close)

    def _train_all_rounds(self) -> None:
        """Trains everyone, and then again, longer and with fresh seeds, those that fall short."""
        self._train_round(self.main_round)
        for attempt in range(1, self.config.training.rescue_rounds + 1):
            rows = self._short()
            if rows.size == 0:
                break
            self.console.print(f"rescue round {attempt}: trains the {rows.size} teachers that fall short again")
            self._train_round(self._rescue(attempt, rows))
        # The files that results.json names must be there before it says that the run is finished.
        self.checkpoints.wait()

    def _short(self) -> np.ndarray:
        """Returns the rows of the teachers that do not clear the bar by two standard errors."""
        kept = jax.device_get(self.best)
        uncertainty = 2 * kept.std_return / np.sqrt(self.config.training.eval_episodes)
        return np.flatnonzero(~(kept.mean_return - uncertainty > self.config.training.pass_return))

    def _rescue(self, attempt: int, rows: np.ndarray) -> _Round:
        longer = {"steps_per_teacher": self.config.training.steps_per_teacher * 2**attempt}
        config = self.config.model_copy(update={"training": self.config.training.model_copy(update=longer)})
        drones = jax.tree.map(lambda leaf: leaf[rows], self.drones)
        plan = self.algorithm.schedule(config)
        started = time.perf_counter()
        programs = compile_programs(config, plan, _shapes(config, drones, self.start), drones)
        self.results.run["timings"]["compiling"] += time.perf_counter() - started
        return _Round(attempt, rows, config, plan, programs, drones)

    def _train_round(self, now: _Round) -> None:
        """Runs all chunks of a round, with evaluations, logs and checkpoints in between."""
        began, total = self.step, self.step + now.plan.total_steps
        ids = jnp.asarray(self.teacher_ids)[now.rows]
        # The round before goes first: two replays might not fit.
        self.population: Any = None
        self.population = self.algorithm.create(now.config, now.drones, ids, self.start, now.attempt)
        self.active = np.ones(now.rows.size, bool)
        if now.attempt == 0:
            self.best = best.create(self.algorithm.actors(self.population))
        with progress.bar(self.console, began, total, now.rows.size) as bar:
            if now.plan.warmup_iterations:
                self._chunk(now, now.programs.warm_up, now.plan.warmup_steps, 0)
            self._evaluate(now, bar)
            updates = 0
            for _ in range(now.plan.chunks):
                before = self.step
                self._chunk(now, now.programs.train, now.plan.chunk_steps, now.plan.chunk_updates)
                updates += now.plan.chunk_updates
                bar.advance(self.step, updates)
                last = self.step >= total
                if last or crossed(before, self.step, self.config.training.eval_frequency):
                    self._evaluate(now, bar)
                if last or crossed(before, self.step, self.config.training.checkpoint_frequency):
                    self.checkpoints.save(self.step, self.best, self.population, now.rows, now.attempt)
        self.results.add_round(now.rows.tolist(), now.plan.total_steps, updates)

    def _judge(self) -> None:
        """Evaluates the kept actors on seeds that chose nothing."""
        with self._timed("evaluating"):
            judgement = jax.device_get(self.judge(self.best.actor, self.drones))
        self.results.set_judgement(judgement, self.config.training.pass_return, checkpoints.best_path(self.step))

    def _chunk(self, now: _Round, program: jax.stages.Compiled, steps: int, updates: int) -> None:
        with self._timed("training"):
            self.population, metrics = program(self.population, now.drones)
            values = {name: self._spread(now, value) for name, value in vars(metrics).items()}
        self.step += steps
        self.teacher_updates += updates * now.rows.size
        self.curves.add("train", self.step, values)
        self.tensorboard.add(self.step, {f"train/{name}": value for name, value in values.items()})
        self._report_frozen(now)

    def _spread(self, now: _Round, values: jax.Array) -> np.ndarray:
        """Returns values [R] of a round's teachers among all, [T]; NaN for the others."""
        spread = np.full(len(self.teacher_ids), np.nan, np.float32)
        spread[now.rows] = np.asarray(values)
        return spread

    def _report_frozen(self, now: _Round) -> None:
        active = np.asarray(self.population.active)
        for row in now.rows[self.active & ~active]:
            self.results.set_frozen(int(row), self.step)
            entry = self.results.teachers[row]
            drone = escape(printable(entry["drone"]))
            self.console.print(
                f"[red]teacher {entry['teacher_id']:04d} ({drone}): its numbers became non-finite before step"
                f" {self.step}; frozen as it was before, the others go on[/]",
                soft_wrap=True,
            )
        self.active = active

    def _evaluate(self, now: _Round, bar: progress.Bar) -> None:
        actors = self.algorithm.actors(self.population)
        with self._timed("evaluating"):
            found = now.programs.select(actors, now.drones)
            self.best = best.keep(
                self.best, jnp.asarray(now.rows), actors, found.mean_return, found.std_return, jnp.int32(self.step)
            )
            values = {name: self._spread(now, value) for name, value in vars(found).items()}
        values["reward"] = values.pop("mean_return")
        self.curves.add("eval", self.step, values)
        self.tensorboard.add(self.step, {"eval/reward": values["reward"]})
        kept = np.asarray(self.best.mean_return)
        self.results.set_kept(kept, self.best.step)
        bar.evaluated(self.step, values["reward"], kept, int(np.sum(kept > self.config.training.pass_return)))
        self.curves.save(self.output_dir / CURVES)
        self._write_results()

    def _write_results(self) -> None:
        training = self.results.run["timings"]["training"]
        self.results.run["step"] = self.step
        self.results.run["teacher_updates_per_second"] = self.teacher_updates / max(training, 1e-9)
        write_json(self.output_dir / FILE, self.results.content())

    @contextmanager
    def _timed(self, purpose: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.results.run["timings"][purpose] += time.perf_counter() - started


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
