"""Kills short runs with SIGKILL at random moments, resumes each, and compares it with a run that nobody killed.

    python -m benchmarks.faults --kills 50

A killed run counts only if it resumes with --resume, ends with status 0, and has the same numbers in the end, bit for
bit: every teacher in results.json, every curve, every array of the newest checkpoint of both kinds. Where a kill hit is
read from what it left on disk. Status 1 where one of them did not come through.

    python -m benchmarks.faults --chunks 10000

trains one run of that many chunks instead and watches its memory, its open files and the sizes of what it writes.
"""

import argparse
import itertools
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from raptor_jax.utils.machine import machine, versions
from validation.faults import (
    PLACES,
    RUNS,
    STATUS,
    after,
    finish,
    inside_a_save,
    inside_a_write,
    nth,
    prepare,
    survive,
    watch,
)


def kill_many(directory: Path, kills: int, seed: int) -> int:
    """Kills that many runs, prints each and the counts; returns the exit status."""
    draw = random.Random(seed)
    for kind in RUNS:
        if (done := finish(directory, kind, f"undisturbed_{kind}")).returncode != STATUS[kind]:
            sys.exit(done.stderr)
    counts, failed = Counter(), 0
    aims = itertools.cycle((None, inside_a_save, inside_a_write))
    for kind, aim in zip(itertools.cycle(RUNS), aims, strict=False):
        if counts.total() == kills:
            break
        moment = nth(draw.randint(1, 12), aim) if aim else after(draw.uniform(0, 6))
        where, wrong = survive(directory, kind, moment, directory / f"undisturbed_{kind}")
        if where not in PLACES:
            continue
        counts[where] += 1
        failed += bool(wrong)
        print(f"{counts.total():3d} {kind}, killed {where}: {wrong or 'resumed to the same numbers'}", flush=True)
    for where in PLACES:
        print(f"{where}: {counts[where]}")
    print(f"{counts.total()} kills, {counts.total() - failed} resumed to the same numbers, {failed} failed")
    return 1 if failed else 0


def print_long(directory: Path, chunks: int) -> int:
    """Prints what a long run holds on its way, and how fast its memory grows; returns the exit status."""
    samples = watch(directory, chunks)
    print("chunk  resident MB  open files  threads  curves.npz MB  logs MB")
    for sample in samples[:: max(1, len(samples) // 20)]:
        print(
            f"{sample.chunk:5d}  {sample.resident / 1e6:11.1f}  {sample.open_files:10d}  {sample.threads:7d}"
            f"  {sample.curves / 1e6:13.2f}  {sample.logs / 1e6:7.2f}"
        )
    later = samples[len(samples) // 10 :]
    slope = np.polyfit([sample.chunk for sample in later], [sample.resident for sample in later], 1)[0]
    print(f"after the first tenth, memory grows by {slope:.0f} bytes a chunk")
    return 0


def main() -> int:
    """Prints machine and versions, then kills or waits; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--kills", type=int, help="runs to kill")
    what.add_argument("--chunks", type=int, help="chunks of one long run to watch")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    options = parser.parse_args()
    print(", ".join(f"{name} {value}" for name, value in (machine() | versions()).items()))
    with tempfile.TemporaryDirectory() as directory:
        prepare(Path(directory))
        if options.kills:
            return kill_many(Path(directory), options.kills, options.seed)
        return print_long(Path(directory), options.chunks)


if __name__ == "__main__":
    sys.exit(main())
