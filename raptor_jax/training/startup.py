"""The beginning of a training: everything before the first chunk."""

import time
from contextlib import ExitStack

import jax
import numpy as np
from rich.console import Console

from raptor_jax.population import best, sharding
from raptor_jax.runs import directory
from raptor_jax.training import capacity, failures, rounds
from raptor_jax.training.output import Output
from raptor_jax.training.resume import newest_point, resume_from
from raptor_jax.training.setup import Job, Setup, set_up
from raptor_jax.training.state import RunState
from raptor_jax.utils.console import say


def begin(
    job: Job, console: Console, overwrite: bool, resume: bool, at_the_end: ExitStack
) -> tuple[Setup, Output, RunState]:
    """Checks the job, locks the output directory, and returns the state before the first chunk, or a saved state.

    Nothing is written before the job is checked; only the checkpoints, and the memory of the compiled programs, are
    checked later.

    Args:
        job: see `loop.train`.
        console: where the progress is printed.
        overwrite: see `loop.train`.
        resume: see `loop.train`.
        at_the_end: closes the output and unlocks the directory.

    Raises:
        UserError: see `loop.train`.
    """
    resume = require_directory(job, console, overwrite, resume)
    setup = set_up(job, console)
    planned = capacity.require_memory_and_space(setup)
    if sharding.is_main_process():
        at_the_end.enter_context(directory.own(job.output_dir, job.config, console, keep=resume, files=job.files))
    sharding.wait_for_all("the output directory is there")
    started = time.perf_counter()
    with failures.reported(job):
        # Before anything is opened for writing, so that a run that cannot be resumed is not changed.
        point = newest_point(setup) if resume else None
    output = Output(setup)
    at_the_end.callback(output.close)
    with output.failures_reported():
        state = resume_from(setup, output, point) if point else _first_state(setup, output)
        seconds = time.perf_counter() - started
        console.print(f"compiled in {seconds:.1f} s (cached for the next run with the same shapes)")
        capacity.require_memory_of_programs(setup, state, planned)
        output.open_tensorboard(state.step if resume else None)
        output.results.set_progress(state.step, state.teacher_updates)
        output.write_results()
    return setup, output, state


def require_directory(job: Job, console: Console, overwrite: bool, resume: bool) -> bool:
    """Returns whether there is a run to resume; writes nothing.

    Raises:
        UserError: the directory does not fit the request, or the settings or drones differ from those of the run.
    """
    begun = directory.require(job.output_dir, overwrite, resume)
    # No process may write there before all processes have checked the directory.
    sharding.wait_for_all("every process has seen the output directory")
    if begun:
        directory.require_same_run(job.output_dir, job.config, job.files)
    elif resume:
        say(console, f"the run in {job.output_dir} was stopped before it began to train: starts from the beginning")
    return begun


def _first_state(setup: Setup, output: Output) -> RunState:
    """Returns the state before the first step."""
    rows = np.arange(len(setup.job.files))
    with output.timed("compiling"):
        now = rounds.prepare(setup.everyone, 0, rows)
    # A killed run may have written a part of its first checkpoint.
    output.checkpoints.delete_after(-1)
    population = now.create()
    kept = jax.device_get(best.create(now.of_real_teachers(population.teachers)))
    return RunState(now, population, kept, began_with=kept.mean_return)
