"""The host loop: chunk, evaluate, log, save, results. No maths here."""

import enum
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from rich.console import Console
from rich.markup import escape

from raptor_jax import evaluation, sac
from raptor_jax.config import Config
from raptor_jax.drones.files import DroneFile, stack_for_training
from raptor_jax.drones.parameters import Drone
from raptor_jax.errors import UserError, printable
from raptor_jax.population import best, memory, sharding
from raptor_jax.population.schedule import crossed
from raptor_jax.population.state import Population
from raptor_jax.runs import checkpoints, layout, warm_start
from raptor_jax.runs import directory as run_directory
from raptor_jax.runs.curves import Curves
from raptor_jax.runs.results import Results, print_table
from raptor_jax.runs.tensorboard import TensorBoard
from raptor_jax.training import progress, rounds, signals
from raptor_jax.training.rounds import Round
from raptor_jax.utils.console import say
from raptor_jax.utils.files import move_aside, write_json
from raptor_jax.utils.trees import tree_bytes

RESTARTS = 3
"""How often a teacher whose numbers become non-finite goes on from before, in one round, until it stays there."""
SAVED_REPLAY_BYTES = 2**30
"""The largest replay that checkpoints hold where `training.checkpoint_replay` is auto."""


class Ending(enum.Enum):
    """How a training ended."""

    PASSED = "every teacher passed"
    NOT_PASSED = "some teacher did not pass"
    STOPPED = "it was asked to stop, and can be resumed"


class Job(NamedTuple):
    """What is to be trained."""

    config: Config
    files: Sequence[DroneFile]
    """The drones; teacher i flies files[i]."""
    teacher_ids: np.ndarray
    """[T] identities of the teachers, which seed them."""
    output_dir: Path


def train(job: Job, console: Console, overwrite: bool = False, resume: bool = False) -> Ending:
    """Trains one teacher for each drone, on all devices, and writes everything under `job.output_dir`.

    Args:
        job: must not have an output directory that holds a run, unless one of the following says what to do with it.
        console: where the progress goes; of several processes, the first one's.
        overwrite: move the run that is there aside.
        resume: go on with the run that is there, from its newest whole checkpoint.

    Raises:
        UserError: something about the input, the memory or the disk rules the run out.
    """
    config, output_dir = job.config, job.output_dir
    if not sharding.is_main_process():
        console = Console(quiet=True)
    # What the settings rule out is told before anything is written.
    rounds.most_steps(config)
    run_directory.require(output_dir, overwrite, resume)
    if resume and not run_directory.has_begun(output_dir):
        console.print(f"the run in {output_dir} ended before it had begun: starts at the beginning", soft_wrap=True)
        resume = False
    # Before the first process writes there, every one must have looked.
    sharding.wait_for_all("every process has seen the output directory")
    if resume:
        run_directory.require_same_run(output_dir, config, job.files)
    mesh = sharding.mesh()
    start = warm_start.load(config)
    drones = stack_for_training(job.files, config.environment)
    table, available = _require_memory(mesh, job, drones, start)
    with ExitStack() as at_the_end:
        if sharding.is_main_process():
            at_the_end.enter_context(_own_directory(job, resume, console))
        sharding.wait_for_all("the output directory is there")
        run = _Run(mesh, job, drones, start, console)
        at_the_end.callback(run.close)
        with run.failures_told():
            run.prepare(resume, table, available)
        requests = at_the_end.enter_context(signals.on_signals(console))
        with run.failures_told():
            stopped = not run.to_the_end(requests)
    if stopped:
        console.print(f"stopped at step {run.step:,}; go on with the same command and --resume", soft_wrap=True)
        return Ending.STOPPED
    print_table(run.results.teachers, config.training.pass_return, console)
    return Ending.PASSED if run.results.all_passed else Ending.NOT_PASSED


@contextmanager
def _own_directory(job: Job, resume: bool, console: Console) -> Iterator[None]:
    """Makes the output directory one that this run alone writes to, with its inputs in it."""
    with ExitStack() as at_the_end:
        at_the_end.enter_context(run_directory.locked(job.output_dir))
        with run_directory.writing(job.output_dir):
            if resume:
                run_directory.clear_leftovers(job.output_dir)
                run_directory.write_config(job.output_dir, job.config)
            else:
                if run_directory.holds_something(job.output_dir):
                    moved = move_aside(job.output_dir)
                    say(console, f"moved the run that was in {job.output_dir} to {moved}")
                    # The old lock went with the old run.
                    at_the_end.enter_context(run_directory.locked(job.output_dir))
                run_directory.write_inputs(job.output_dir, job.config, job.files)
        yield


def _require_memory(
    mesh: Mesh, job: Job, drones: Drone, start: sac.Parameters | None
) -> tuple[memory.MemoryTable, int]:
    """Returns what each device will hold, as far as shapes tell, and what it has; raises UserError if that is less."""
    share = -(-len(job.files) // mesh.size)
    own = jax.tree.map(lambda leaf: leaf[:share], drones)
    shapes = rounds.shapes(job.config, own, start)
    kept = jax.eval_shape(best.create, shapes.teachers)
    table = memory.plan(job.config, own, shapes, kept)
    available = memory.available_bytes(jax.local_devices()[0])
    memory.require_fit(table, job.config, share, available)
    run_directory.require_space(job.output_dir, mesh.size * checkpoints.estimated_bytes(kept, table.learner))
    return table, available


class _Run:
    """One training in progress: the population on the devices, and everything that is written about it."""

    def __init__(self, mesh: Mesh, job: Job, drones: Drone, start: sac.Parameters | None, console: Console) -> None:
        self.mesh, self.job, self.config, self.drones, self.start = mesh, job, job.config, drones, start
        self.output_dir, self.console = job.output_dir, console
        self.step = self.began = self.teacher_updates = 0
        about = {"status": "running", "output_dir": str(job.output_dir), "config": self.config.model_dump()}
        self.results = Results(about, job.teacher_ids.tolist(), job.files)
        self.curves = Curves(job.teacher_ids.tolist(), rounds.most_steps(job.config))
        self.checkpoints = checkpoints.Writer(job.output_dir, job.teacher_ids.tolist())
        self.keep = sharding.replicate(mesh, best.keep)

    def prepare(self, resume: bool, table: memory.MemoryTable, available: int) -> None:
        """Compiles what the first round needs, checks that it fits, and takes over what a checkpoint holds."""
        began = time.perf_counter()
        saved = self._saved() if resume else None
        rows = np.asarray(saved["rows"]) if saved else np.arange(len(self.job.files))
        self.now = self._round(saved["attempt"] if saved else 0, rows)
        everyone = sharding.padded(np.arange(len(self.job.files)), self.mesh)
        self.everyone = sharding.shard(self.mesh, jax.tree.map(lambda leaf: leaf[everyone], self.drones))
        if saved:
            self._take_over(saved)
        else:
            # Half of a first checkpoint may be there.
            self.checkpoints.delete_after(-1)
            self.population: Population = self.now.create()
            self.best = jax.device_get(best.create(self.now.of_real_teachers(self.population.teachers)))
        programs = [program for program in self.now.programs if program is not None]
        seconds = time.perf_counter() - began
        self.console.print(f"compiled in {seconds:.1f} s (the same shapes come from the cache next time)")
        table = table._replace(temporaries=max(table.temporaries, memory.temporaries(programs)))
        share = self.now.teacher_ids.size // self.mesh.size
        device = f"each of {self.mesh.size} {self.mesh.devices.flat[0].device_kind} device(s)"
        progress.print_memory(table, available, share, device, self.console)
        memory.require_fit(table, self.config, share, available)
        own_curves = self.config.training.tensorboard_teachers
        if sharding.is_main_process():
            self.tensorboard = TensorBoard(
                self.output_dir / layout.LOGS, self.job.teacher_ids.tolist(), own_curves, self.step if resume else None
            )
        self._write_results()

    def close(self) -> None:
        """Writes everything out; whatever happened, `results.json` says how far the run came."""
        if self.results.run["status"] == "running":
            self.results.run["status"] = "interrupted"
        with self.failures_told(), ExitStack() as one_after_another:
            one_after_another.callback(self.checkpoints.close)
            if hasattr(self, "tensorboard"):
                one_after_another.callback(self.tensorboard.close)
            one_after_another.callback(self._write_results)

    def to_the_end(self, requests: signals.Requests) -> bool:
        """Trains and judges; returns False if it was asked to stop, and has saved what there is."""
        self.requests = requests
        if not self._train_all_rounds():
            return False
        self._judge()
        self.results.run["status"] = "finished"
        return True

    @contextmanager
    def failures_told(self) -> Iterator[None]:
        """Tells in one line of a device or a disk that is full."""
        way_out = "what was saved before is whole: make room and go on with --resume"
        try:
            with run_directory.writing(self.output_dir, way_out):
                yield
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            raise UserError(
                f"out of device memory after step {self.step}; train fewer teachers (--num-teachers), or lower"
                f" {memory.largest(self.config)}"
            ) from None

    def _round(self, attempt: int, rows: np.ndarray) -> Round:
        with self._timed("compiling"):
            return rounds.prepare(self.mesh, self.config, attempt, rows, self.drones, self.job.teacher_ids, self.start)

    def _train_all_rounds(self) -> bool:
        """Trains everyone, and then again, longer and with fresh seeds, those that fall short."""
        while self._train_round():
            attempt, rows = self.now.attempt + 1, self._short()
            if rows.size == 0 or attempt > self.config.training.rescue_rounds:
                # The files that results.json names must be there before it says that the run is finished.
                self.checkpoints.wait()
                return True
            self.console.print(f"rescue round {attempt}: trains the {rows.size} teachers that fall short again")
            # The round before goes first: two replays might not fit.
            del self.population
            self.now = self._round(attempt, rows)
            self.population = self.now.create()
            self.began = self.step
        return False

    def _short(self) -> np.ndarray:
        """Returns the rows of the teachers that do not clear the bar by two standard errors."""
        kept = jax.device_get(self.best)
        uncertainty = 2 * kept.std_return / np.sqrt(self.config.training.eval_episodes)
        return np.flatnonzero(~(kept.mean_return - uncertainty > self.config.training.pass_return))

    def _train_round(self) -> bool:
        """Runs the chunks of a round that are left, with evaluations, logs and checkpoints in between.

        Returns:
            False if it was asked to stop before the end.
        """
        now, plan, training = self.now, self.now.plan, self.config.training
        total = self.began + plan.total_steps
        self.active, self.restarts = np.ones(now.rows.size, bool), np.zeros(now.rows.size, int)
        updates = 0
        with progress.bar(self.console, self.step, total, now.rows.size) as bar:
            if self.step == self.began:
                if now.programs.warm_up:
                    self._chunk(now.programs.warm_up, plan.warmup_steps, 0)
                self._evaluate(bar)
            while self.step < total:
                before = self.step
                self._chunk(now.programs.train, plan.chunk_steps, plan.chunk_updates)
                updates += plan.chunk_updates
                bar.advance(self.step, updates)
                last = self.step >= total
                if last or crossed(before, self.step, training.eval_frequency):
                    self._evaluate(bar)
                stop = sharding.any_process(self.requests.stop)
                if last or stop or crossed(before, self.step, training.checkpoint_frequency):
                    self._save()
                if stop:
                    return False
        # After the last checkpoint: who goes on from it may make this round longer.
        chunks = (self.step - self.began - plan.warmup_steps) // plan.chunk_steps
        self.results.add_round(now.rows.tolist(), self.step - self.began, chunks * plan.chunk_updates)
        return True

    def _judge(self) -> None:
        """Evaluates the kept actors on seeds that chose nothing."""
        episodes = self.config.training.final_eval_episodes
        everyone = sharding.padded(np.arange(len(self.job.files)), self.mesh)
        actors = sharding.shard(self.mesh, jax.tree.map(lambda leaf: np.asarray(leaf)[everyone], self.best.actor))

        def judge(actors: sac.Parameters, drones: Drone) -> evaluation.Evaluation:
            return evaluation.evaluate(self.config, actors, drones, episodes, evaluation.JUDGEMENT)

        def sample(actors: sac.Parameters, drones: Drone) -> evaluation.Evaluation:
            return evaluation.evaluate(self.config, actors, drones, episodes, evaluation.JUDGEMENT, sampled=True)

        with self._timed("compiling"):
            programs = [sharding.compile_sharded(self.mesh, each, actors, self.everyone) for each in (judge, sample)]
        with self._timed("evaluating"):
            judgement, stochastic = (sharding.gather(program(actors, self.everyone)) for program in programs)
        self.results.set_judgement(judgement, self.config.training.pass_return, layout.best_arrays(self.step))
        self.results.set_stochastic(stochastic)

    def _chunk(self, program: jax.stages.Compiled, steps: int, updates: int) -> None:
        with self._timed("training"):
            self.population, metrics = program(self.population, self.now.drones)
            values = {name: self._of_all(value) for name, value in vars(metrics).items()}
        self.step += steps
        self.teacher_updates += updates * self.now.rows.size
        if self.curves.add("train", self.step, values):
            self._log({f"train/{name}": value for name, value in values.items()})
        self._revive()

    def _of_all(self, values: jax.Array) -> np.ndarray:
        """Returns values [R'] of a round's teachers among all, [T]; NaN for the others."""
        of_all = np.full(len(self.job.files), np.nan, np.float32)
        of_all[self.now.rows] = self.now.of_real_teachers(values)
        return of_all

    def _revive(self) -> None:
        """Lets teachers whose numbers broke go on from before the chunk with fresh draws, or leaves them there."""
        broken = self.active & ~self.now.of_real_teachers(self.population.active)
        if not broken.any():
            return
        self.restarts += broken
        for place in np.flatnonzero(broken):
            row, again = int(self.now.rows[place]), self.restarts[place] <= RESTARTS
            entry = self.results.teachers[row]
            if again:
                self.results.set_restarts(row, entry["restarts"] + 1)
            else:
                self.results.set_frozen(row, self.step)
            drone = escape(printable(entry["drone"]))
            what = f"goes on from there with fresh draws, {self.restarts[place]} of {RESTARTS}" if again else "frozen"
            self.console.print(
                f"[red]teacher {entry['teacher_id']:04d} ({drone}): its numbers became non-finite before step"
                f" {self.step}; put back to where it was before, and {what}; the others go on[/]",
                soft_wrap=True,
            )
        again = broken & (self.restarts <= RESTARTS)
        self.active &= ~broken | again
        if again.any():
            self.population = self.now.revived(self.mesh, self.population, again, self.restarts)

    def _evaluate(self, bar: progress.Bar) -> None:
        teachers = self.population.teachers
        with self._timed("evaluating"):
            found = self.now.programs.select(teachers.actor, self.now.drones)
            self.best = self.keep(
                self.best, self.now.rows, teachers, found.mean_return, found.std_return, jnp.int32(self.step)
            )
            values = {name: self._of_all(value) for name, value in vars(found).items()}
        values["reward"] = values.pop("mean_return")
        if self.curves.add("eval", self.step, values):
            self._log({"eval/reward": values["reward"]})
        kept = np.asarray(self.best.mean_return)
        self.results.set_kept(kept, self.best.step)
        bar.evaluated(self.step, values["reward"], kept, int(np.sum(kept > self.config.training.pass_return)))
        self._write_results()

    def _log(self, values: dict[str, np.ndarray]) -> None:
        if not sharding.is_main_process():
            return
        if self.tensorboard.reopen_deleted():
            self.console.print(
                f"[yellow]{self.output_dir / layout.LOGS}: files were deleted; TensorBoard goes on in new ones from"
                f" step {self.step:,}, and {layout.CURVES} has all points[/]",
                soft_wrap=True,
            )
        self.tensorboard.add(self.step, values)

    def _save(self) -> None:
        """Saves all that a resume needs; the curves first, for a checkpoint promises that they reach as far as it."""
        self._write_results()
        replay = self.population.replay
        notes = checkpoints.Notes(
            attempt=self.now.attempt,
            rows=self.now.rows.tolist(),
            began=self.began,
            teacher_updates=self.teacher_updates,
            replay_rows=int(replay.filled) if replay is not None else 0,
            curves=self.curves.counts(),
            results=self.results.content(),
        )
        ids = self.job.teacher_ids[sharding.padded(self.now.rows, self.mesh)]
        wanted = self.config.training.checkpoint_replay
        with_replay = wanted == "always" or (wanted == "auto" and tree_bytes(replay) <= SAVED_REPLAY_BYTES)
        self.checkpoints.save(self.step, self.best, self.population, ids, with_replay, notes)

    def _saved(self) -> dict[str, Any] | None:
        """Returns the notes of the newest checkpoint that is whole, and what it keeps; None if none was finished yet.

        Raises:
            UserError: there are checkpoints, and not one of them is whole.
        """
        steps = checkpoints.resumable_steps(self.output_dir)
        for step in steps:
            try:
                notes = checkpoints.load_notes(self.output_dir, step)
                _, kept = checkpoints.load_best(self.output_dir, step)
                now = self._round(notes.attempt, np.asarray(notes.rows))
                population = self._restored(now, step)
                return {**notes._asdict(), "step": step, "best": checkpoints.best_of(kept), "population": population}
            except UserError as error:
                self.console.print(f"[yellow]{escape(str(error))}; goes back to the one before[/]", soft_wrap=True)
        if steps:
            raise UserError(
                f"{self.output_dir}: none of its checkpoints is whole; restore its files, or start anew with"
                " --overwrite, which moves them aside"
            )
        self.console.print("no checkpoint to go on from yet: starts at the beginning")
        return None

    def _restored(self, now: Round, step: int) -> Population:
        """Returns the population of a checkpoint; with an empty replay, where that has none or one of another size."""
        population = now.create()
        tree = checkpoints.load_latest(self.output_dir, step)
        saved = tree.get("replay")
        if saved and population.replay and saved["rows"].shape[1:] != population.replay.rows.shape[1:]:
            del tree["replay"]
        places = sharding.padded(np.arange(now.rows.size), self.mesh)
        tree = jax.tree.map(lambda leaf: leaf[places] if leaf.ndim else leaf, tree)
        return checkpoints.restore(population, sharding.shard(self.mesh, tree))

    def _take_over(self, saved: dict[str, Any]) -> None:
        """Goes to where a checkpoint was saved."""
        self.step, self.began, self.teacher_updates = saved["step"], saved["began"], saved["teacher_updates"]
        self.population, self.best = saved["population"], saved["best"]
        self.results.restore(saved["results"])
        try:
            self.curves.restore(self.output_dir / layout.CURVES, saved["curves"])
        except UserError as error:
            self.console.print(f"[yellow]{error}; the curves begin anew at step {self.step:,}[/]", soft_wrap=True)
        self.checkpoints.delete_after(self.step)
        self.console.print(f"goes on from step {self.step:,}")
        fly, replay = self.now.programs.warm_up, self.population.replay
        if fly and replay is not None and (missing := saved["replay_rows"] - int(replay.filled)):
            for _ in range(-(-missing // self.now.plan.warmup_steps)):
                self.population, _ = fly(self.population, self.now.drones)
            self.console.print(f"filled the replay anew, with {missing:,} steps or more of the policies as they are")

    def _write_results(self) -> None:
        if not sharding.is_main_process():
            return
        training = self.results.run["timings"]["training"]
        self.results.run["step"] = self.step
        self.results.run["teacher_updates_per_second"] = self.teacher_updates / max(training, 1e-9)
        self.curves.save(self.output_dir / layout.CURVES)
        write_json(self.output_dir / layout.RESULTS, self.results.content())

    @contextmanager
    def _timed(self, purpose: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.results.run["timings"][purpose] += time.perf_counter() - started
