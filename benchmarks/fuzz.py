"""Tries hostile input on every reader, counts, and prints the table of `docs/reliability.md`.

    python -m benchmarks.fuzz [--inputs 100000] [--guided 20000] [--seed 0] [--only READER]

The inputs (`validation/fuzz`) are valid ones that were edited and damaged. With --guided, atheris (extra `fuzz`) tries
so many more on each reader of a file: it mutates bytes, and keeps mutations that reach new code. Every input
must be accepted, or refused in one line, without side effects; the first of each kind that is not is shown, and the
status is 1.
"""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

from raptor_jax.utils.machine import machine
from validation.fuzz import readers, trial

PACKAGES = ("numpy", "pydantic", "PyYAML", "orbax-checkpoint", "tensorstore", "jax", "rich")


class Tally:
    """What became of the inputs of one reader."""

    def __init__(self, reader: readers.Reader, base: Path) -> None:
        self.reader, self.base = reader, base
        self.accepted = self.refused = self.broken = 0
        self.slowest = 0.0
        self.defects: dict[str, str] = {}

    def attempt(self, drawn: Any, label: str) -> None:
        """Tries one input in a directory of its own."""
        with tempfile.TemporaryDirectory(dir=self.base) as name:
            place = Path(name)
            self.reader.put(drawn, place)
            started = time.perf_counter()
            try:
                if trial.attempt(lambda: self.reader.read(drawn, place), place):
                    self.accepted += 1
                else:
                    self.refused += 1
            except (Exception, trial.Hang) as error:
                self.broken += 1
                last = traceback.extract_tb(error.__traceback__)[-1]
                kind = f"{type(error).__name__} at {last.filename}:{last.lineno}"
                self.defects.setdefault(kind, f"input {label}, {drawn!r:.2000}\n{traceback.format_exc()}")
            self.slowest = max(self.slowest, time.perf_counter() - started)

    @property
    def tried(self) -> int:
        """Returns how many inputs there were."""
        return self.accepted + self.refused + self.broken

    def row(self, name: str) -> str:
        """Returns the line of the table."""
        counts = f"{self.tried} | {self.accepted} | {self.refused}"
        return f"| {name} | {counts} | {self.slowest:.2f} | {self.broken} |"


def main() -> int:
    """Prints machine, versions and table; returns 1 where an input was neither accepted nor refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000, help="of all readers together (default: %(default)s)")
    parser.add_argument("--guided", type=int, default=0, help="more for each reader of a file (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs (default: %(default)s)")
    parser.add_argument("--only", help="one reader")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz_") as name:
        base = Path(name)
        # A reader that unpickles would import and write from here.
        os.chdir(base)
        readers.make_run(base / "run")
        chosen = [r for r in readers.all_readers(base / "run") if options.only in (None, r.name)]
        return report(chosen, options, base)


def report(chosen: list[readers.Reader], options: argparse.Namespace, base: Path) -> int:
    """Tries everything and prints the table, a line as soon as it is known."""
    about = machine()
    print(f"{time.strftime('%Y-%m-%d')}, {about['processor']}, {about['cores']} cores, {about['memory_gib']} GiB,")
    print(f"Python {platform.python_version()}, {', '.join(f'{name} {version(name)}' for name in PACKAGES)}")
    print("\n| reader | tried | accepted | refused | slowest [s] | defects |\n|---|---|---|---|---|---|")
    started, tried, defects = time.perf_counter(), 0, []
    for reader in chosen:
        tally = Tally(reader, base)
        for number in range(round(options.inputs * reader.share)):
            tally.attempt(reader.draw(Random(f"{options.seed}/{reader.name}/{number}")), str(number))
        print(tally.row(reader.name), flush=True)
        tried += tally.tried
        defects += [f"{reader.name}: {kind}\n{told}" for kind, told in tally.defects.items()]
    for reader in chosen if options.guided else ():
        if reader.example is not None:
            tried += guided_child(reader, options, defects)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\n{tried} inputs in {time.perf_counter() - started:.0f} s, peak memory {peak:.2f} GiB")
    print("\n".join(defects))
    return 1 if defects else 0


def guided_child(reader: readers.Reader, options: argparse.Namespace, defects: list[str]) -> int:
    """Runs atheris, which ends its process, in one of its own; returns how many inputs it tried."""
    command = [sys.executable, "-m", "benchmarks.fuzz_guided", reader.name, str(options.guided), str(options.seed)]
    # The working directory is no longer the repository's root.
    root = str(Path(__file__).parents[1])
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    row = next((line for line in run.stdout.splitlines() if line.startswith(f"| {reader.name}")), None)
    if row is None or run.returncode:
        defects.append(f"{reader.name}, guided: status {run.returncode}\n{run.stdout[-3000:]}{run.stderr[-3000:]}")
    if row is None:
        return 0
    print(row, flush=True)
    return int(row.split("|")[2])


if __name__ == "__main__":
    sys.exit(main())
