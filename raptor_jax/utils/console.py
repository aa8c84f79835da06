"""What a person reads: the console, and lines and sizes as text."""

import sys

from rich.console import Console

from raptor_jax.errors import printable


def make_console(quiet: bool = False) -> Console:
    """Returns a console on standard output: log files and pipes get whole lines, a terminal its own width."""
    return Console(width=None if sys.stdout.isatty() else 140, quiet=quiet)


def say(console: Console, text: str) -> None:
    """Prints a line that quotes names which others chose: no markup in them, and nothing that moves the cursor."""
    console.print(printable(text), markup=False, soft_wrap=True)


def readable_bytes(count: int) -> str:
    """Returns a count of bytes as text, in GiB or, below one, in MiB."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.2f} MiB"
