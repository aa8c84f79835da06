"""Short runs that are killed with SIGKILL, resumed, and compared with a run that nobody killed; and long ones, watched.

A killed run has recovered if it resumes with --resume, ends with the status of the undisturbed one, and has the same
numbers in the end, bit for bit: every teacher in results.json, every curve, every array of the newest checkpoint of
both kinds. Where a kill hit is read from what it left on disk.
"""

import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orbax.checkpoint as ocp
import psutil
from flax import traverse_util

from raptor_jax.config import SamplingConfig
from raptor_jax.drones import sampling
from raptor_jax.runs import checkpoints, layout

DRONES = 3
CHUNK = 32
_SHARED = {
    "environment.environments-per-teacher": 4,
    "environment.episode-steps": 20,
    "sac.actor-hidden-dim": 8,
    "training.eval-episodes": 3,
    "training.final-eval-episodes": 5,
    "training.log-frequency": CHUNK,
    "training.eval-frequency": 64,
    "training.checkpoint-frequency": 128,
    "training.tensorboard-teachers": 1,
}
RUNS = {
    "model_free": {
        **_SHARED,
        "config": "configs/model_free.yaml",
        "training.steps-per-teacher": 1024,
        "training.extra-rounds": 0,
        "training.pass-return": -1e6,
        "sac.critic-hidden-dim": 8,
        "sac.critic-batch-size": 8,
        "sac.actor-batch-size": 8,
        "sac.n-warmup-steps": 32,
    },
    # Nobody clears this bar by two standard errors, so that there is an extra round.
    "windows": {
        **_SHARED,
        "training.start": "scratch",
        "training.steps-per-teacher": 512,
        "training.extra-rounds": 1,
        "training.pass-return": 1e6,
        "environment.environments-per-teacher": 2,
        "sac.horizon": 8,
    },
}
"""Runs of seconds that have everything a long one has, by what they are."""
STATUS = {"model_free": 0, "windows": 3}
"""How they end: every teacher passes, or none."""
PLACES = ("before the first checkpoint", "inside a save", "inside a results write", "elsewhere")


def arguments_of(directory: Path, kind: str, output_dir: str, *more: str) -> list[str]:
    """Returns the arguments that train on the drones of a directory; `output_dir` is relative to it."""
    options = {**RUNS[kind], "dynamics-dir": directory / "dynamics", "output-dir": directory / output_dir}
    settings = [f"--{name}={value}" for name, value in options.items()]
    return ["train", "--device=cpu", *settings, *more]


def command(directory: Path, kind: str, output_dir: str, *more: str) -> list[str]:
    """Returns the command with these arguments, without a shell or a script around it that a signal would hit."""
    return [sys.executable, "-m", "raptor_jax.cli", *arguments_of(directory, kind, output_dir, *more)]


def environment() -> dict[str, str]:
    """Returns the variables of the processes: another number of devices rounds otherwise."""
    return {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}


def prepare(directory: Path) -> None:
    """Writes the drones."""
    sampling.write_drones(directory / "dynamics", SamplingConfig(), DRONES)


def finish(directory: Path, kind: str, output_dir: str, *arguments: str) -> subprocess.CompletedProcess:
    """Trains to the end; returns the process with its output."""
    started = command(directory, kind, output_dir, *arguments)
    return subprocess.run(started, capture_output=True, text=True, env=environment(), check=False)


def numbers(run: Path) -> dict[str, np.ndarray]:
    """Returns everything that a run learned, measured and judged, by name."""
    results = json.loads((run / layout.RESULTS).read_text())
    found = {
        "teachers": np.array(json.dumps(results["teachers"])),
        "rounds": np.array(json.dumps(results["run"]["rounds"])),
    }
    with np.load(run / layout.CURVES) as curves:
        found |= {f"curves {name}": curves[name] for name in curves.files}
    for kind in layout.KINDS:
        newest = max((run / layout.CHECKPOINTS / kind).iterdir(), key=lambda path: int(path.name))
        with ocp.StandardCheckpointer() as checkpointer:
            tree = checkpointer.restore((newest / "default").absolute())
        arrays = traverse_util.flatten_dict(tree, sep="/")
        found |= {f"{kind} {newest.name} {name}": np.asarray(array) for name, array in arrays.items()}
    return found


def differences(run: Path, undisturbed: Path) -> list[str]:
    """Returns the names of what differs between two runs, in any bit."""
    ours, theirs = numbers(run), numbers(undisturbed)
    same = {
        name
        for name in ours.keys() & theirs.keys()
        if np.array_equal(ours[name], theirs[name], equal_nan=ours[name].dtype.kind == "f")
    }
    return sorted((ours.keys() | theirs.keys()) - same)


def kill(directory: Path, kind: str, output_dir: str, moment: Callable[[Path], bool], *arguments: str) -> bool:
    """Starts a run and kills it as soon as `moment(run)` comes true; returns whether it was still running then."""
    run = directory / output_dir
    # JAX writes a program to its cache in place: of one that is killed there, all later runs would find half.
    variables = {**environment(), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1e9"}
    with tempfile.TemporaryFile() as output:
        started = command(directory, kind, output_dir, *arguments)
        process = subprocess.Popen(started, stdout=output, stderr=output, env=variables)
        while process.poll() is None and not moment(run):
            time.sleep(0.0002)
        process.send_signal(signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


def after(seconds: float) -> Callable[[Path], bool]:
    """Returns the moment some seconds after the run has come to its output directory."""
    seen = []

    def moment(run: Path) -> bool:
        if (run / layout.LOCK).exists():
            seen.append(time.monotonic())
        return bool(seen) and time.monotonic() - seen[0] >= seconds

    return moment


def nth(number: int, inside: Callable[[Path], bool]) -> Callable[[Path], bool]:
    """Returns the moment when `inside` becomes true for the n-th time, from 1."""
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
        glob.glob("*orbax-checkpoint-tmp*", root_dir=layout.checkpoints(run, kind), include_hidden=True)
        for kind in layout.KINDS
    )


def inside_a_write(run: Path) -> bool:
    """Returns whether there are results or curves that are not finished."""
    return any(glob.glob(f".{name}.*", root_dir=run) for name in (layout.RESULTS, layout.CURVES))


def place(run: Path) -> str:
    """Returns which of `PLACES` a kill hit, by what it left."""
    if inside_a_save(run):
        return PLACES[1]
    if inside_a_write(run):
        return PLACES[2]
    return PLACES[3] if checkpoints.resumable_steps(run) else PLACES[0]


def survive(directory: Path, kind: str, moment: Callable[[Path], bool], undisturbed: Path) -> tuple[str, str]:
    """Kills a run and lets it go on to the end; returns where the kill hit, and what is wrong in the end or ""."""
    run = directory / "killed"
    shutil.rmtree(run, ignore_errors=True)
    if not kill(directory, kind, run.name, moment):
        return "after the end", ""
    where = place(run)
    resumed = finish(directory, kind, run.name, "--resume")
    if resumed.returncode != STATUS[kind]:
        return where, f"status {resumed.returncode}: {resumed.stderr.strip()}"
    differing = differences(run, undisturbed)
    left = [name for name in os.listdir(run) if name.startswith(".") and name != layout.LOCK]
    return where, f"differs: {', '.join(differing)}" if differing else f"left {left}" if left else ""


class Sample(NamedTuple):
    """What a long run holds at a moment."""

    chunk: int
    resident: int
    """Bytes of its memory."""
    open_files: int
    threads: int
    curves: int
    """Bytes on disk, of the curves and of the logs."""
    logs: int


def watch(directory: Path, chunks: int) -> list[Sample]:
    """Trains a tiny population for that many chunks; returns samples, one for every hundredth of them or so."""
    longer = {
        "training.steps-per-teacher": chunks * CHUNK,
        "training.eval-frequency": 20 * CHUNK,
        "training.checkpoint-frequency": 100 * CHUNK,
        "sac.replay-capacity": 1024,
    }
    run, samples = directory / "long", []
    more = [f"--{name}={value}" for name, value in longer.items()]
    with tempfile.TemporaryFile() as output:
        started = command(directory, "model_free", run.name, *more)
        process = subprocess.Popen(started, stdout=output, stderr=output, env=environment())
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            time.sleep(0.05)
            try:
                chunk = json.loads((run / layout.RESULTS).read_text())["run"]["step"] // CHUNK
                held = (watched.memory_info().rss, watched.num_fds(), watched.num_threads())
                sizes = (run / layout.CURVES).stat().st_size, sum(file.stat().st_size for file in run.glob("logs/*/*"))
            except (FileNotFoundError, psutil.Error):
                continue
            if chunk >= (samples[-1].chunk if samples else 0) + max(1, chunks // 100):
                samples.append(Sample(chunk, *held, *sizes))
        if process.returncode != STATUS["model_free"]:
            output.seek(0)
            sys.exit(output.read().decode())
    return samples
