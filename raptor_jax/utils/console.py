"""Console output."""

import sys

from rich.console import Console

from raptor_jax.errors import printable


def make_console(quiet: bool = False) -> Console:
    """Returns a console on standard output: as wide as the terminal, or 140 columns for files and pipes."""
    return Console(width=None if sys.stdout.isatty() else 140, quiet=quiet)


def say(console: Console, text: str, style: str = "") -> None:
    """Prints a line that may quote arbitrary names: without markup, and with control characters as escapes.

    Args:
        console: where it is printed.
        text: the line.
        style: colour of the line, in rich's notation.
    """
    console.print(printable(text), style=style, markup=False, soft_wrap=True)


def readable_bytes(count: int) -> str:
    """Returns a number of bytes as text, in GiB, or in MiB below 1 GiB."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.2f} MiB"
