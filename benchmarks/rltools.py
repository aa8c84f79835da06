"""RLtools' SAC (C++, MKL) and ours, at RLtools' own settings, on the same core in the same run.

    python -m benchmarks.rltools [--json FILE]

Needs the extra `benchmark` (RLtools' headers and MKL) and g++. Both programs are pinned to one core and take turns.
Both fly 10 000 steps without learning and are warm before they are timed, learn in float32 from a replay of up to
1 000 000 transitions, and are timed in CPU seconds, so that other work on that core costs neither of them its turn.

A teacher-update is one update of the critics and their targets, and in every second one of actor and alpha; a whole
step also flies one step of the environment. RLtools flies the Crazyflie in its own L2F environment, ours a sampled
drone for each teacher, both with RAPTOR's task. RLtools computes the Bellman target for each critic, ours once for
both, which is why the same rate is more GFLOP/s there.
"""

import argparse
import functools
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil

from raptor_jax import config as configs
from raptor_jax.config import Config
from raptor_jax.drones.parameters import stack
from raptor_jax.drones.sampling import sample_drone
from raptor_jax.drones.tasks import for_training
from raptor_jax.population import sac
from raptor_jax.simulator import ACTION_DIM, OBSERVATION_DIM
from raptor_jax.utils.machine import machine, versions

CONFIG = "configs/raptor_reference.yaml"
SOURCE = Path(__file__).with_name("rltools_sac.cpp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-ffast-math", "-DRL_TOOLS_BACKEND_ENABLE_MKL")
"""Those that the package `rltools` compiles its own SAC with; it links MKL's threads and allows one of them."""
MKL_LIBRARIES = ("libmkl_intel_lp64.so", "libmkl_sequential.so", "libmkl_core.so")
Turn = Callable[[], dict[str, Any]]
"""What measures one program once, and returns what it found."""
MATRIX = 2048
"""Rows and columns of the matrix product that finds XLA's peak; MKL's is of the same size."""


def main() -> None:
    """Compiles, measures in turns, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", type=int, default=0, help="the core that everything runs on (default: 0)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each program (default: 3)")
    parser.add_argument(
        "--updates",
        type=int,
        default=1000,
        help="teacher-updates of a turn (default: 1000; at least 200 of each teacher)",
    )
    parser.add_argument("--teachers", type=int, nargs="+", default=[1, 4, 16], help="our populations (default: 1 4 16)")
    parser.add_argument("--json", type=Path, help="also write every measurement to this file")
    options = parser.parse_args()
    # Before jax starts its threads, which inherit it, as RLtools' process does.
    os.sched_setaffinity(0, {options.core})
    jax.config.update("jax_platforms", "cpu")
    config = configs.load(CONFIG)

    with tempfile.TemporaryDirectory() as directory:
        turns: dict[str, Turn] = {
            "RLtools": functools.partial(run_rltools, compile_rltools(Path(directory)), options.updates)
        }
        for teachers in options.teachers:
            turns[f"raptor_jax, {counted(teachers)}"] = prepare_ours(config, teachers, options.updates)
        turns["XLA"] = prepare_peak()
        psutil.cpu_percent(percpu=True)
        started = time.perf_counter(), cpu_seconds()
        rounds = [{name: turn() for name, turn in turns.items()} for _ in range(options.rounds)]
        share = (cpu_seconds() - started[1]) / (time.perf_counter() - started[0])
    others = np.delete(psutil.cpu_percent(percpu=True), options.core)
    result = {
        "machine": machine(),
        "versions": {**versions(), "rltools": metadata.version("rltools"), "mkl": rounds[0]["RLtools"]["mkl"]},
        "core": options.core,
        "share_of_the_core": share,
        "other_cores_busy_percent": others.tolist(),
        "rounds": rounds,
    }
    print_table(config, result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def counted(teachers: int) -> str:
    """Returns a number of teachers in words."""
    return f"{teachers} teacher{'s' if teachers > 1 else ''}"


def cpu_seconds() -> float:
    """Returns the CPU seconds of this process and of those it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def located(package: str, name: str) -> Path:
    """Returns where an installed package keeps the file whose name starts with `name`."""
    try:
        files = metadata.files(package) or []
        return next(Path(str(file.locate())).resolve() for file in files if file.name.startswith(name))
    except (metadata.PackageNotFoundError, StopIteration):
        sys.exit(f"error: no {name} of the package {package} is installed; pip install 'raptor-jax[benchmark]'")


def compile_rltools(directory: Path) -> Path:
    """Returns the program that times RLtools."""
    libraries = [located("mkl", name) for name in MKL_LIBRARIES]
    mkl_headers = located("mkl-include", "mkl.h").parent
    linked = ["-Wl,--no-as-needed", *map(str, libraries), f"-Wl,-rpath,{libraries[0].parent}", "-lm", "-ldl"]
    return compiled(SOURCE, (*FLAGS, f"-I{mkl_headers}"), directory, linked)


def compiled(source: Path, flags: Sequence[str], directory: Path, linked: Sequence[str] = ()) -> Path:
    """Returns the program of a C++ file that uses RLtools' headers; ends the program where it cannot be made."""
    headers = located("rltools", "rl_tools.h").parents[1]
    if shutil.which("g++") is None:
        sys.exit("error: g++ is not installed; it compiles RLtools (apt install g++)")
    program = directory / source.stem
    subprocess.run(["g++", *flags, f"-I{headers}", str(source), "-o", str(program), *linked], check=True)
    return program


def run_rltools(program: Path, updates: int) -> dict[str, Any]:
    """Returns a turn of RLtools: CPU seconds of an update, and MKL's peak."""
    environment = {**os.environ, "MKL_NUM_THREADS": "1"}
    run = subprocess.run([program, str(updates)], check=True, stdout=subprocess.PIPE, env=environment)
    turn = json.loads(run.stdout)
    changes = [float(change) for change in turn.pop("changes")]
    require_learning(all(math.isfinite(change) and change for change in changes), "RLtools")
    return turn


def prepare_ours(config: Config, teachers: int, updates: int) -> Turn:
    """Returns what times a population of ours, compiled and warm; each call goes on with the training."""
    drones = [for_training(sample_drone(config.sampling, i)[0], config.environment, "drone") for i in range(teachers)]
    stacked = jax.tree.map(jnp.asarray, stack(drones))
    interval = config.sac.actor_update_interval
    # Enough for what is done once in a call to be as small as it is in a training.
    iterations = max(100, math.ceil(updates / (interval * teachers)))
    population = sac.create(config, stacked, jnp.arange(teachers))
    population, _ = sac.collect(config, population, stacked, iterations=config.sac.n_warmup_steps)

    def turn() -> dict[str, float]:
        nonlocal population
        before = weights(population)
        start = time.process_time()
        population, metrics = sac.train(config, population, stacked, iterations=iterations)
        jax.block_until_ready(population)
        took = time.process_time() - start
        changed = bool(np.all(weights(population) != before))
        require_learning(changed and bool(np.all(np.isfinite(metrics.critic_loss))), counted(teachers))
        return {"whole_step": took / (iterations * interval * teachers)}

    turn()
    return turn


def weights(population: sac.Population) -> np.ndarray:
    """Returns a sum of each teacher's weights, of actor, critics and targets: [3, T]."""
    teachers = population.teachers
    networks = (teachers.actor, teachers.critic, teachers.target_critic)
    sums = [sum(leaf.reshape(leaf.shape[0], -1).sum(axis=1) for leaf in jax.tree.leaves(tree)) for tree in networks]
    return np.array(sums)


def require_learning(learns: bool, who: str) -> None:
    """Ends the program unless weights change and stay finite: a time of anything else means nothing."""
    if not learns:
        sys.exit(f"error: {who}: weights did not change, or are not finite")


def prepare_peak() -> Turn:
    """Returns what measures the fastest of some large matrix products of XLA."""
    matrix = jnp.full((MATRIX, MATRIX), 0.5, jnp.float32)
    product = jax.jit(jnp.matmul)
    product(matrix, matrix).block_until_ready()

    def turn() -> dict[str, float]:
        times = []
        for _ in range(4):
            start = time.process_time()
            product(matrix, matrix).block_until_ready()
            times.append(time.process_time() - start)
        return {"peak_gflops": 2e-9 * MATRIX**3 / min(times)}

    return turn


def update_gflop(config: Config, targets: int) -> float:
    """Returns the GFLOP of matrix products in a teacher-update, averaged over those with and without actor.

    Args:
        config: the sizes.
        targets: how many times the target is computed.
    """
    a, c = config.sac.actor_hidden_dim, config.sac.critic_hidden_dim
    actor_hidden, critic_hidden = a * a + a * 2 * ACTION_DIM, c * c + c
    actor, critic = OBSERVATION_DIM * a + actor_hidden, (OBSERVATION_DIM + ACTION_DIM) * c + critic_hidden
    # Multiplications: forward; then for each product one for its weights, and one for its inputs if they learn.
    critics_learn = targets * (actor + 2 * critic) + 2 * (critic + critic + critic_hidden)
    actor_learns = (actor + actor + actor_hidden) + 2 * (critic + critic)
    return 2e-9 * config.sac.critic_batch_size * (critics_learn + actor_learns / config.sac.actor_update_interval)


def print_table(config: Config, result: dict[str, Any]) -> None:
    """Prints medians and extremes over the rounds, in teacher-updates of a CPU second, beside the peaks."""
    rounds = result["rounds"]
    peaks = {
        "MKL": max(turn["RLtools"]["peak_gflops"] for turn in rounds),
        "XLA": max(turn["XLA"]["peak_gflops"] for turn in rounds),
    }
    print(f"machine {result['machine']}\nversions {result['versions']}")
    busy = ", ".join(f"{percent:.0f} %" for percent in result["other_cores_busy_percent"])
    print(f"core {result['core']}, of which this had {result['share_of_the_core']:.0%}; other cores busy: {busy}")
    print(f"peak SGEMM of one core, {MATRIX} square: MKL {peaks['MKL']:.0f} GFLOP/s, XLA {peaks['XLA']:.0f} GFLOP/s\n")
    print("| program | teacher-updates/s: median | least to most | of RLtools | GFLOP/s | of MKL's peak |")
    print("|---|---|---|---|---|---|")
    rows = [("RLtools", "whole_step", "RLtools, whole step"), ("RLtools", "training", "RLtools, without the flight")]
    rows += [(name, "whole_step", f"{name}, whole step") for name in rounds[0] if name not in ("RLtools", "XLA")]
    yardstick = statistics.median(1 / turn["RLtools"]["whole_step"] for turn in rounds)
    for name, what, title in rows:
        rates = [1 / turn[name][what] for turn in rounds]
        rate = statistics.median(rates)
        gflops = rate * update_gflop(config, targets=2 if name == "RLtools" else 1)
        print(
            f"| {title} | {rate:.0f} | {min(rates):.0f} to {max(rates):.0f} | {rate / yardstick:.2f} | {gflops:.0f} |"
            f" {gflops / peaks['MKL']:.0%} |"
        )


if __name__ == "__main__":
    main()
