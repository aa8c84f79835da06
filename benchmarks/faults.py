"""Kills short runs with SIGKILL at random moments, resumes each, and compares it with a run that nobody killed.

    python -m benchmarks.faults --kills 50

A killed run counts only if it goes on with --resume, ends with status 0, and has the same numbers in the end, bit for
bit: every teacher in results.json, every curve, every array of the newest checkpoint of both kinds. Where a kill hit is
read from what it left on disk. Status 1 where one of them did not come through.

    python -m benchmarks.faults --chunks 10000

trains one run of that many chunks instead and watches its memory, its open files and the sizes of what it writes.
"""

import argparse
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import psutil

from raptor_jax import checkpoints
from raptor_jax.config import SamplingConfig
from raptor_jax.dynamics import sampling
from raptor_jax.metrics import CURVES
from raptor_jax.results import FILE, machine, versions
from raptor_jax.run_directory import LOCK

DRONES = 3
_SHARED = {
    "environment.environments-per-teacher": 4,
    "environment.episode-steps": 20,
    "sac.actor-hidden-dim": 8,
    "training.eval-episodes": 3,
    "training.final-eval-episodes": 5,
    "training.log-frequency": 32,
    "training.eval-frequency": 64,
    "training.checkpoint-frequency": 128,
    "training.tensorboard-teachers": 1,
}
RUNS = {
    "sac": {
        **_SHARED,
        "training.algorithm": "sac",
        "training.steps-per-teacher": 1024,
        "training.rescue-rounds": 0,
        "training.pass-return": -1e6,
        "sac.critic-hidden-dim": 8,
        "sac.critic-batch-size": 8,
        "sac.actor-batch-size": 8,
        "sac.n-warmup-steps": 32,
    },
    # Nobody clears this bar by two standard errors, so that there is a rescue round.
    "apg": {
        **_SHARED,
        "training.algorithm": "apg",
        "training.start": "scratch",
        "training.steps-per-teacher": 512,
        "training.rescue-rounds": 1,
        "training.pass-return": 1e6,
        "apg.environments-per-teacher": 2,
        "apg.horizon": 8,
    },
}
"""Runs of seconds that have everything a long one has, by algorithm."""
STATUS = {"sac": 0, "apg": 3}
"""How they end: every teacher passes, or none."""
PLACES = ("before the first checkpoint", "inside a save", "inside a results write", "elsewhere")


def command(directory: Path, algorithm: str, output_dir: str, *arguments: str) -> list[str]:
    """Returns the command that trains on the drones of a directory; `output_dir` is relative to it."""
    options = {**RUNS[algorithm], "dynamics-dir": directory / "dynamics", "output-dir": directory / output_dir}
    settings = [f"--{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "raptor_jax.cli", "train", "--device=cpu", *settings, *arguments]


def prepare(directory: Path) -> None:
    """Writes the drones."""
    sampling.write_drones(directory / "dynamics", SamplingConfig(), DRONES)


def finish(directory: Path, algorithm: str, output_dir: str, *arguments: str) -> subprocess.CompletedProcess:
    """Trains to the end; returns the process with its output."""
    return subprocess.run(
        command(directory, algorithm, output_dir, *arguments), capture_output=True, text=True, check=False
    )


def numbers(run: Path) -> dict[str, np.ndarray]:
    """Returns everything that a run learned, measured and judged, by name."""
    results = json.loads((run / FILE).read_text())
    found = {
        "teachers": np.array(json.dumps(results["teachers"])),
        "rounds": np.array(json.dumps(results["run"]["rounds"])),
    }
    with np.load(run / CURVES) as curves:
        found |= {f"curves {name}": curves[name] for name in curves.files}
    for kind in ("best", "latest"):
        newest = max((run / checkpoints.DIRECTORY / kind).iterdir(), key=lambda path: int(path.name))
        with ocp.StandardCheckpointer() as checkpointer:
            tree = checkpointer.restore((newest / "default").absolute())
        found |= {f"{kind} {newest.name} {'/'.join(path)}": array for path, array in _leaves(tree)}
    return found


def differences(run: Path, undisturbed: Path) -> list[str]:
    """Returns the names of what differs between two runs, in any bit."""
    ours, theirs = numbers(run), numbers(undisturbed)
    return sorted(
        name
        for name in ours.keys() | theirs.keys()
        if name not in ours
        or name not in theirs
        or not np.array_equal(ours[name], theirs[name], equal_nan=ours[name].dtype.kind == "f")
    )


def _leaves(tree: dict, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*prefix, key))
        else:
            yield (*prefix, key), np.asarray(value)


def kill(directory: Path, algorithm: str, output_dir: str, moment: Callable[[Path], bool], *arguments: str) -> bool:
    """Starts a run and kills it as soon as `moment(run)` comes true; returns whether it was still running then."""
    run = directory / output_dir
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command(directory, algorithm, output_dir, *arguments), stdout=output, stderr=output)
        while process.poll() is None and not moment(run):
            time.sleep(0.0002)
        process.send_signal(signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


def after(seconds: float) -> Callable[[Path], bool]:
    """Returns the moment some seconds after the run has come to its output directory."""
    seen = []

    def moment(run: Path) -> bool:
        if (run / LOCK).exists():
            seen.append(time.monotonic())
        return bool(seen) and time.monotonic() - seen[0] >= seconds

    return moment


def nth(number: int, inside: Callable[[Path], bool]) -> Callable[[Path], bool]:
    """Returns the moment when what `inside` tells of begins for the n-th time, from 1."""
    state = {"begun": 0, "inside": False}

    def moment(run: Path) -> bool:
        now = inside(run)
        state["begun"] += now and not state["inside"]
        state["inside"] = now
        return now and state["begun"] >= number

    return moment


def inside_a_save(run: Path) -> bool:
    """Returns whether there is a checkpoint that is not finished."""
    return any(
        "orbax-checkpoint-tmp" in name
        for kind in ("best", "latest")
        for name in _names(run / checkpoints.DIRECTORY / kind)
    )


def inside_a_write(run: Path) -> bool:
    """Returns whether there are results or curves that are not finished."""
    return any(name.startswith((f".{FILE}.", f".{CURVES}.")) for name in _names(run))


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


def place(run: Path) -> str:
    """Returns which of `PLACES` a kill hit, by what it left."""
    if inside_a_save(run):
        return PLACES[1]
    if inside_a_write(run):
        return PLACES[2]
    return PLACES[3] if checkpoints.resumable_steps(run) else PLACES[0]


def survive(directory: Path, algorithm: str, moment: Callable[[Path], bool], undisturbed: Path) -> tuple[str, str]:
    """Kills a run and lets it go on to the end; returns where the kill hit, and what is wrong in the end or ""."""
    run = directory / "killed"
    shutil.rmtree(run, ignore_errors=True)
    if not kill(directory, algorithm, run.name, moment):
        return "after the end", ""
    where = place(run)
    resumed = finish(directory, algorithm, run.name, "--resume")
    if resumed.returncode != STATUS[algorithm]:
        return where, f"status {resumed.returncode}: {resumed.stderr.strip()}"
    differing = differences(run, undisturbed)
    left = [name for name in os.listdir(run) if name.startswith(".") and name != LOCK]
    return where, f"differs: {', '.join(differing)}" if differing else f"left {left}" if left else ""


def kill_many(directory: Path, kills: int, seed: int) -> int:
    """Kills that many runs, prints each and the counts; returns the exit status."""
    draw = random.Random(seed)
    for algorithm in RUNS:
        if (done := finish(directory, algorithm, f"undisturbed_{algorithm}")).returncode != STATUS[algorithm]:
            sys.exit(done.stderr)
    counts, failed = Counter(), 0
    aims = itertools.cycle((None, inside_a_save, inside_a_write))
    for algorithm, aim in zip(itertools.cycle(RUNS), aims, strict=False):
        if counts.total() == kills:
            break
        moment = nth(draw.randint(1, 12), aim) if aim else after(draw.uniform(0, 6))
        where, wrong = survive(directory, algorithm, moment, directory / f"undisturbed_{algorithm}")
        if where not in PLACES:
            continue
        counts[where] += 1
        failed += bool(wrong)
        print(f"{counts.total():3d} {algorithm}, killed {where}: {wrong or 'resumed to the same numbers'}", flush=True)
    for where in PLACES:
        print(f"{where}: {counts[where]}")
    print(f"{counts.total()} kills, {counts.total() - failed} resumed to the same numbers, {failed} failed")
    return 1 if failed else 0


def run_long(directory: Path, chunks: int) -> int:
    """Trains a tiny population for that many chunks and prints what grows; returns the exit status."""
    chunk = 32
    longer = {
        "training.steps-per-teacher": chunks * chunk,
        "training.eval-frequency": 100 * chunk,
        "training.checkpoint-frequency": 500 * chunk,
        "sac.replay-capacity": 1024,
    }
    arguments = [f"--{name}={value}" for name, value in longer.items()]
    run = directory / "long"
    print("chunk  resident MiB  open files  threads  curves.npz MB  logs MB")
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command(directory, "sac", run.name, *arguments), stdout=output, stderr=output)
        watched, shown, peak = psutil.Process(process.pid), -1, 0.0
        while process.poll() is None:
            time.sleep(0.2)
            try:
                step = json.loads((run / FILE).read_text())["run"]["step"]
                seen = (watched.memory_info().rss / 2**20, watched.num_fds(), watched.num_threads())
            except (FileNotFoundError, psutil.Error):
                continue
            peak = max(peak, seen[0])
            if step // chunk // (max(1, chunks // 20)) > shown:
                shown = step // chunk // max(1, chunks // 20)
                sizes = (
                    (run / CURVES).stat().st_size / 1e6,
                    sum(f.stat().st_size for f in (run / "logs").rglob("*") if f.is_file()) / 1e6,
                )
                row = f"{step // chunk:5d}  {seen[0]:12.1f}  {seen[1]:10d}  {seen[2]:7d}"
                print(f"{row}  {sizes[0]:13.2f}  {sizes[1]:7.2f}", flush=True)
        print(f"most resident memory seen: {peak:.1f} MiB; status {process.returncode}")
        return 0 if process.returncode == 0 else 1


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
        return run_long(Path(directory), options.chunks)


if __name__ == "__main__":
    sys.exit(main())
