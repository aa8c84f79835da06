"""The host loop: trains the student chunk by chunk, and evaluates, logs and saves it between chunks."""

import enum
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from rich.console import Console

from raptor_jax import evaluation, student
from raptor_jax.config import Config, DistillationConfig
from raptor_jax.distillation import teachers as all_teachers
from raptor_jax.distillation.output import Output
from raptor_jax.distillation.programs import compile_chunk, mesh_for, on_every_device
from raptor_jax.distillation.state import State, restored
from raptor_jax.distillation.teachers import Teachers
from raptor_jax.errors import UserError
from raptor_jax.evaluation import students
from raptor_jax.population.schedule import is_due
from raptor_jax.runs import checkpoints, directory, layout, stored_config
from raptor_jax.runs.checkpoints import StudentNotes
from raptor_jax.runs.student_results import Point, Returns, StudentResults
from raptor_jax.training import signals
from raptor_jax.training.signals import Requests
from raptor_jax.utils.console import say
from raptor_jax.utils.trees import take

__all__ = ["Ending", "Job", "distill", "job_of"]


class Ending(enum.Enum):
    """How a distillation ended."""

    FINISHED = "finished"
    STOPPED = "stopped on request; it can be resumed"


class Job(NamedTuple):
    """What to distil."""

    run: Path
    """The teachers' run."""
    config: Config
    """The settings of the run, with those of the distillation."""
    output_dir: Path
    teachers: Sequence[range] | None = None
    """Ranges of `teacher_id` of the teachers to learn from; None for all that passed."""


def job_of(run: Path, settings: DistillationConfig, output_dir: Path, teachers: Sequence[range] | None = None) -> Job:
    """Returns a job with the settings of a run and these of the distillation; arguments as in `Job`.

    Raises:
        UserError: there is no such run, or its settings are invalid.
    """
    path = layout.config_file(run)
    if not path.is_file():
        raise UserError(f"{run}: holds no {layout.CHECKPOINTS}; name the output directory of a run")
    config = stored_config.load(path).model_copy(update={"distillation": settings})
    return Job(run, config, output_dir, teachers)


class _Setup(NamedTuple):
    """What does not change during a distillation."""

    job: Job
    teachers: Teachers
    mesh: Mesh
    rows: np.ndarray
    """[D] the teachers on whose drones the student is evaluated."""
    console: Console


def distill(job: Job, console: Console, overwrite: bool = False, resume: bool = False) -> Ending:
    """Distils the teachers of a run into one student, and writes everything under `job.output_dir`.

    Args:
        job: what to distil; its output directory must be empty, unless `overwrite` or `resume` is set.
        console: where the progress is printed.
        overwrite: rename the existing output directory.
        resume: continue from the newest undamaged checkpoint.

    Raises:
        UserError: the input is invalid, or there is too little memory or disk space.
    """
    resume = directory.require(job.output_dir, overwrite, resume)
    if resume:
        directory.require_same_settings(job.output_dir, job.config, ignored=("sampling.",))
    setup = _set_up(job, console)
    with ExitStack() as at_the_end:
        at_the_end.enter_context(directory.own(job.output_dir, job.config, console, keep=resume))
        output = Output(job.output_dir, job.run, job.config, setup.teachers)
        at_the_end.callback(output.close)
        with output.failures_reported():
            state = _first_state(setup, output, resume)
            requests = at_the_end.enter_context(signals.on_signals(console))
            finished = _train(setup, output, state, requests)
            output.results.status = "finished" if finished else "interrupted"
            if finished:
                _evaluate_best(setup, output, state)
            output.write(state)
    if not finished:
        console.print(f"stopped at iteration {state.iteration:,}; continue with the same command and --resume")
        return Ending.STOPPED
    _print_final(output.results, setup.teachers, console)
    return Ending.FINISHED


def _set_up(job: Job, console: Console) -> _Setup:
    """Reads the teachers, and prints how many there are. Raises UserError."""
    teachers, mesh = all_teachers.load(job.run, job.teachers), mesh_for(job.config)
    count = len(teachers.ids)
    say(console, f"{count} teachers of {job.run}; {len(teachers.left_out)} that did not pass are left out")
    rows = np.unique(np.linspace(0, count - 1, min(count, job.config.distillation.eval_drones)).astype(int))
    return _Setup(job, teachers, mesh, rows, console)


def _first_state(setup: _Setup, output: Output, resume: bool) -> State:
    """Returns an untrained student, or the one in the newest undamaged checkpoint."""
    fresh = student.start(setup.job.config)
    state = _newest(setup, output, fresh) if resume else None
    output.open_tensorboard(state.iteration if state else None)
    output.checkpoints.delete_after(state.iteration if state else -1)
    if resume:
        found = (
            f"resumed from iteration {state.iteration:,}" if state else "no checkpoint yet: starts from the beginning"
        )
        setup.console.print(found)
    return state or State(fresh, jax.device_get(fresh.weights))


def _newest(setup: _Setup, output: Output, fresh: student.Learner) -> State | None:
    """Returns the state in the newest undamaged checkpoint, and restores the results; None without checkpoints."""
    path = setup.job.output_dir
    steps = checkpoints.resumable_steps(path)
    for step in steps:
        try:
            notes = checkpoints.load_notes(path, step, StudentNotes)
            kept, latest = checkpoints.load_kept_student(path, step), checkpoints.load_latest(path, step)
        except UserError as error:
            say(setup.console, f"{error}; using the previous one", "yellow")
            continue
        if notes.teachers != setup.teachers.digest:
            raise UserError(f"{path}: the student was distilled from other teachers; name the run with which it began")
        output.results.restore(notes.results)
        return restored(fresh, kept, latest)
    if steps:
        raise UserError(
            f"{path}: all of its checkpoints are damaged; start again with --overwrite, which moves them aside"
        )
    return None


def _train(setup: _Setup, output: Output, state: State, requests: Requests) -> bool:
    """Runs the remaining chunks; returns False if it was asked to stop, after a checkpoint."""
    config, settings = setup.job.config, setup.job.config.distillation
    state.learner = on_every_device(setup.mesh, state.learner)
    actors, drones = on_every_device(setup.mesh, (setup.teachers.actors, setup.teachers.drones))
    with output.timed("compiling"):
        train = compile_chunk(setup.mesh, config, state.learner, actors, drones)
    setup.console.print(f"compiled in {output.results.timings.compiling:.1f} s")
    started, began = time.perf_counter(), state.iteration
    while state.iteration < settings.iterations:
        before = state.iteration
        with output.timed("training"):
            state.learner, metrics = train(state.learner, actors, drones)
            values = {name: float(value) for name, value in vars(metrics).items()}
        output.log(state.iteration, {f"train/{name}": value for name, value in values.items()})
        last = state.iteration >= settings.iterations
        if last or is_due(before, state.iteration, settings.eval_frequency):
            point = _evaluate(setup, output, state, values["loss"])
            elapsed = time.perf_counter() - started
            left = elapsed * (settings.iterations - state.iteration) / (state.iteration - began)
            _print_point(point, settings.iterations, elapsed, max(left, 0.0), setup.console)
        if last or requests.stop or is_due(before, state.iteration, settings.checkpoint_frequency):
            output.save(state)
        if requests.stop and not last:
            return False
    return True


def _evaluate(setup: _Setup, output: Output, state: State, loss: float) -> Point:
    """Evaluates the student in training, and keeps it if it is the best so far; returns the point of the curve."""
    config, drones = setup.job.config, take(setup.teachers.drones, setup.rows)
    episodes = config.distillation.eval_episodes
    with output.timed("evaluating"):
        # On one device: with weights on all devices, each would compute the same.
        weights = jax.device_get(state.learner.weights)
        found = students.evaluate(config, weights, drones, episodes, evaluation.SELECTION)
        returns = np.asarray(found.mean_return)
    state.keep_if_best(float(returns.mean()))
    return output.add_evaluation(state.iteration, returns, loss)


def _evaluate_best(setup: _Setup, output: Output, state: State) -> None:
    """Evaluates the best student on the drones of all teachers, in episodes that were not used to choose it."""
    config, drones = setup.job.config, setup.teachers.drones
    episodes = config.training.final_eval_episodes
    with output.timed("evaluating"):
        output.set_final(students.evaluate(config, state.best, drones, episodes, evaluation.FINAL))


def _print_point(point: Point, iterations: int, elapsed: float, left: float, console: Console) -> None:
    loss = "-" if point.loss is None else f"{point.loss:.4f}"
    console.print(
        f"iteration {point.iteration:>6,} of {iterations:,}  loss {loss}  return {point.returns}"
        f"  {elapsed:.0f} s, {left:.0f} s left",
        highlight=False,
        soft_wrap=True,
    )


def _print_final(results: StudentResults, teachers: Teachers, console: Console) -> None:
    of_teachers = Returns.of(teachers.mean_return, results.pass_return)
    console.print(f"student on the drones of its teachers: return {results.final}", highlight=False)
    console.print(f"teachers, each on its own drone:       return {of_teachers}", highlight=False)
