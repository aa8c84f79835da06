"""What a person sees while it runs: a bar on a terminal, and one line for every evaluation anywhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bar:
    """The progress of a run, counted in environment steps of a teacher."""

    def __init__(self, progress: Progress, console: Console, total_steps: int, teachers: int) -> None:
        """Starts at step 0 of `total_steps`."""
        self._progress, self._console, self._teachers = progress, console, teachers
        self._task = progress.add_task("training", total=total_steps, speed="", returns="")
        self._last = (time.perf_counter(), 0, 0)
        self._started = self._last[0]
        self._total_steps = total_steps

    def advance(self, step: int, updates: int) -> None:
        """Moves on to `step`, with `updates` critic updates of every teacher so far."""
        now = time.perf_counter()
        then, last_step, last_updates = self._last
        elapsed = max(now - then, 1e-9)
        update_rate = (updates - last_updates) * self._teachers / elapsed
        step_rate = (step - last_step) * self._teachers / elapsed
        self._last = (now, step, updates)
        speed = f"{update_rate:,.0f} updates/s {step_rate:,.0f} steps/s"
        self._progress.update(self._task, completed=step, speed=speed)

    def evaluated(self, step: int, returns: np.ndarray, best: np.ndarray, passing: int) -> None:
        """Shows an evaluation: the returns [T] now, the best so far [T], and how many of these pass."""
        now = f"median {np.nanmedian(returns):.0f} worst {np.nanmin(returns):.0f}"
        kept = f"best kept: median {np.median(best):.0f} worst {best.min():.0f}"
        self._progress.update(self._task, returns=now)
        elapsed = time.perf_counter() - self._started
        self._console.print(
            f"step {step:>9,} of {self._total_steps:,}  return {now}  {kept}  passing {passing}/{len(best)}"
            f"  {elapsed:.0f} s",
            highlight=False,
        )


@contextmanager
def bar(console: Console, total_steps: int, teachers: int) -> Iterator[Bar]:
    """Opens a progress bar; without a terminal only its lines appear."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[returns]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, console, total_steps, teachers)
