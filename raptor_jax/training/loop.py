"""The host loop: trains round by round and chunk by chunk; evaluates, logs and saves in between. No numerics here."""

from collections.abc import Callable
from contextlib import ExitStack

from rich.console import Console

from raptor_jax.population import sharding
from raptor_jax.population.schedule import is_due
from raptor_jax.population.state import ChunkMetrics, Population
from raptor_jax.runs.results_table import print_table
from raptor_jax.training import extra_rounds, progress, signals, startup
from raptor_jax.training.divergence import roll_back_diverged
from raptor_jax.training.evaluations import evaluate_and_keep, evaluate_kept
from raptor_jax.training.output import Output
from raptor_jax.training.saving import save_checkpoint
from raptor_jax.training.setup import Job, Setup
from raptor_jax.training.signals import Requests
from raptor_jax.training.state import Ending, RunState

__all__ = ["Ending", "Job", "train"]


def train(job: Job, console: Console, overwrite: bool = False, resume: bool = False) -> Ending:
    """Trains one teacher for each drone, on all devices, and writes everything under `job.output_dir`.

    Args:
        job: what to train; its output directory must be empty, unless `overwrite` or `resume` is set.
        console: where the progress is printed, by the main process only.
        overwrite: rename the existing run.
        resume: continue the existing run from its newest undamaged checkpoint.

    Raises:
        UserError: the input is invalid, or there is too little memory or disk space.
    """
    if not sharding.is_main_process():
        console = Console(quiet=True)
    with ExitStack() as at_the_end:
        setup, output, state = startup.begin(job, console, overwrite, resume, at_the_end)
        requests = at_the_end.enter_context(signals.on_signals(console))
        with output.failures_reported():
            finished = _train_all_rounds(setup, output, state, requests)
            if finished:
                evaluate_kept(setup, output, state)
                output.results.run.status = "finished"
    if not finished:
        console.print(f"stopped at step {state.step:,}; continue with the same command and --resume", soft_wrap=True)
        return Ending.STOPPED
    print_table(output.results.teachers, job.config.training.pass_return, console)
    return Ending.PASSED if output.results.all_passed else Ending.NOT_PASSED


def _train_all_rounds(setup: Setup, output: Output, state: RunState, requests: Requests) -> bool:
    """Trains the main round and the extra rounds; returns False if it was asked to stop before the end."""
    while _train_round(setup, output, state, requests):
        rows = extra_rounds.teachers_to_train_on(setup.config.training, state)
        if not rows.size:
            # The files that results.json names must exist before it states that the run is finished.
            output.checkpoints.wait()
            return True
        extra_rounds.begin_extra_round(setup, output, state, rows)
    return False


def _train_round(setup: Setup, output: Output, state: RunState, requests: Requests) -> bool:
    """Runs the remaining chunks of a round; returns False if it was asked to stop, after a checkpoint."""
    now, plan, training = state.round, state.round.plan, setup.config.training
    total, updates = state.began + plan.total_steps, 0
    # A step of few teachers is little work, but a checkpoint always contains the kept networks of all.
    between_checkpoints = training.checkpoint_frequency * max(1, len(setup.job.files) // now.teacher_ids.size)
    with progress.bar(setup.console, state.step, total, now.rows.size) as bar:
        if state.step == state.began:
            if now.programs.warm_up:
                _run_chunk(setup, output, state, now.collect, plan.warmup_steps, 0)
            evaluate_and_keep(setup, output, state, bar)
            output.write_results()
        while state.step < total:
            before = state.step
            _run_chunk(setup, output, state, now.train, plan.chunk_steps, plan.chunk_updates)
            updates += plan.chunk_updates
            bar.advance(state.step, updates)
            last = state.step >= total
            evaluated = last or is_due(before, state.step, training.eval_frequency)
            if evaluated:
                evaluate_and_keep(setup, output, state, bar)
            stop = sharding.any_process(requests.stop)
            if last or stop or is_due(before, state.step, between_checkpoints):
                save_checkpoint(setup, output, state)
            elif evaluated:
                output.write_results()
            if stop:
                return False
    # After the last checkpoint, because a run resumed from it may be longer.
    steps = state.step - state.began
    chunks = (steps - plan.warmup_steps) // plan.chunk_steps
    output.results.add_round(now.rows.tolist(), steps, chunks * plan.chunk_updates)
    return True


def _run_chunk(
    setup: Setup,
    output: Output,
    state: RunState,
    program: Callable[[Population], tuple[Population, ChunkMetrics]],
    steps: int,
    updates: int,
) -> None:
    """Runs a program of the round, which makes these numbers of steps and updates per teacher; records its metrics."""
    with output.timed("training"):
        state.population, metrics = program(state.population)
        values = {name: state.round.among_all(value, len(setup.job.files)) for name, value in vars(metrics).items()}
    state.step += steps
    state.teacher_updates += updates * state.round.rows.size
    output.results.set_progress(state.step, state.teacher_updates)
    if output.curves.add("train", state.step, values):
        output.log(state.step, {f"train/{name}": value for name, value in values.items()})
    roll_back_diverged(setup, output, state)
