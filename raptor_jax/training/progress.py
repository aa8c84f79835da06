"""The output of a training: the memory table, a line for every evaluation and, on a terminal, a progress bar."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from raptor_jax.population.memory import MemoryTable
from raptor_jax.utils.console import readable_bytes


def print_memory(table: MemoryTable, available: int, teachers: int, device: str, console: Console) -> None:
    """Prints the memory that each device will need for these teachers, and the memory that is available."""
    console.print(f"Memory for {teachers} teachers on {device}, {readable_bytes(available)} free:")
    rows = Table("purpose")
    rows.add_column("size", justify="right")
    for purpose, size in table._asdict().items():
        rows.add_row(purpose, readable_bytes(size))
    rows.add_section()
    rows.add_row("total", readable_bytes(table.total))
    console.print(rows)


class Bar:
    """A progress bar over the environment steps of a teacher."""

    def __init__(self, progress: Progress, console: Console, first_step: int, total_steps: int, teachers: int) -> None:
        """Starts at `first_step` of `total_steps`."""
        self._progress, self._console, self._teachers = progress, console, teachers
        self._task = progress.add_task("training", completed=first_step, total=total_steps, speed="", returns="")
        self._started = time.perf_counter()
        self._last = (self._started, first_step, 0)
        self._first_step, self._total_steps = first_step, total_steps
        self._speed = ""

    def advance(self, step: int, updates: int) -> None:
        """Advances to `step`, after `updates` updates of each teacher since the bar was opened."""
        now = time.perf_counter()
        then, last_step, last_updates = self._last
        per_second = self._teachers / max(now - then, 1e-9)
        self._speed = (
            f"{(updates - last_updates) * per_second:,.0f} updates/s {(step - last_step) * per_second:,.0f} steps/s"
        )
        self._last = (now, step, updates)
        self._progress.update(self._task, completed=step, speed=self._speed)

    def evaluated(self, step: int, returns: np.ndarray, best: np.ndarray, passing: int) -> None:
        """Prints an evaluation: the current returns [T], the best so far [T], and how many of these pass."""
        finite = returns[np.isfinite(returns)]
        now = f"median {np.median(finite):.0f} worst {finite.min():.0f}" if finite.size else "not finite"
        kept = f"best kept: median {np.median(best):.0f} worst {best.min():.0f}"
        self._progress.update(self._task, returns=now)
        elapsed = time.perf_counter() - self._started
        done = step - self._first_step
        left = f"{elapsed * (self._total_steps - step) / done:.0f} s left" if done else "just begun"
        self._console.print(
            f"step {step:>9,} of {self._total_steps:,}  return {now}  {kept}  passing {passing}/{len(best)}"
            f"  {self._speed}  {elapsed:.0f} s, {left}",
            highlight=False,
            soft_wrap=True,
        )


@contextmanager
def bar(console: Console, first_step: int, total_steps: int, teachers: int) -> Iterator[Bar]:
    """Opens a progress bar; without a terminal, only the lines of the evaluations are printed."""
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[returns]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, console, first_step, total_steps, teachers)
