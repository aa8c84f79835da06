"""The table of teachers that a training, `evaluate` and `inspect` print."""

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from raptor_jax.errors import printable
from raptor_jax.runs.teacher_result import TeacherResult

MOST_ROWS = 40
"""Most teachers or drones that a table shows."""


def _verdict(entry: TeacherResult) -> tuple[str, str, str, str, str]:
    """Returns the texts of mean return, share of terminated episodes, offset, rounds and whether it passed."""
    rounds = str(entry.rounds)
    if entry.passed is None:
        best = entry.best_eval_reward
        return ("-" if best is None else f"best {best:.0f}"), "-", "-", rounds, "not evaluated"
    if entry.mean_return is None:
        return "not finite", "-", "-", rounds, "[red]no[/]"
    return (
        f"{entry.mean_return:.0f} +- {entry.std_return:.0f}",
        "-" if entry.share_terminated is None else f"{entry.share_terminated:.0%}",
        "-" if entry.position_offset is None else f"{entry.position_offset:.2f}",
        rounds,
        "[green]yes[/]" if entry.passed else "[red]no[/]",
    )


def print_table(teachers: Sequence[TeacherResult], pass_return: float, console: Console) -> None:
    """Prints the teachers, or only the worst MOST_ROWS of a large population; then a summary."""
    order = sorted(teachers, key=lambda entry: -np.inf if entry.mean_return is None else entry.mean_return)
    if len(order) <= MOST_ROWS:
        shown, title = sorted(order, key=lambda entry: entry.teacher_id), "Teachers:"
    else:
        shown, title = order[:MOST_ROWS], f"The {MOST_ROWS} lowest of {len(order)} teachers:"
    console.print(title)
    table = Table()
    numbers = ("thrust/weight", "mass [kg]", "mean return", "terminated", "offset [m]", "rounds", "passed")
    for heading in ("teacher", "drone", *numbers):
        table.add_column(escape(heading), justify="left" if heading == "drone" else "right", no_wrap=True)
    for entry in shown:
        table.add_row(
            f"{entry.teacher_id:04d}",
            Text(printable(entry.drone)),
            f"{entry.thrust_to_weight:.2f}",
            f"{entry.mass:.3f}",
            *_verdict(entry),
        )
    console.print(table)
    _print_summary(teachers, pass_return, console)


def _print_summary(teachers: Sequence[TeacherResult], pass_return: float, console: Console) -> None:
    evaluated = [entry for entry in teachers if entry.passed is not None]
    if not evaluated:
        return
    returns = [entry.mean_return for entry in evaluated if entry.mean_return is not None]
    distribution = (
        f"median {np.median(returns):.0f}, 5th percentile {np.percentile(returns, 5):.0f}, worst {min(returns):.0f}"
        if returns
        else "no finite return"
    )
    passed = sum(bool(entry.passed) for entry in evaluated)
    console.print(f"{passed} of {len(teachers)} passed (mean return above {pass_return:g}); {distribution}")
    shares = [entry.share_terminated for entry in evaluated if entry.share_terminated is not None]
    if shares:
        console.print(
            f"{np.mean(shares):.2%} of the evaluated episodes were terminated ({np.count_nonzero(shares)} teachers)"
        )
