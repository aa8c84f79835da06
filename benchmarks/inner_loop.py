"""The inner loop on one core: the simulator beside L2F's own C++, and the default training beside another version.

    python -m benchmarks.inner_loop [--against CHECKOUT] [--configs FILE FILE] [--json FILE]

The simulator's row needs the extra `benchmark` (RLtools' headers) and g++. L2F flies the Crazyflie on RAPTOR's task in
its own loop; ours flies sampled drones of the default task through `raptor_jax.simulator` (step, reward, termination).
Both take turns on one core and are timed in CPU seconds.

With --against, every training is made by this checkout and by the other one in turn, each a process of
`raptor-jax train` on that core with its own default settings. What is compared comes from `results.json`: seconds of
training for each environment step, without compilation and evaluation; updates of all teachers for each of these
seconds; and the seconds of compilation in the first turn, which begins with an empty cache.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rltools import FLAGS, compiled
from benchmarks.throughput_rows import sampled
from raptor_jax import config as configs
from raptor_jax.drones.parameters import Drone
from raptor_jax.simulator import ACTION_DIM, Noise, State, reset, reward, step, terminated
from raptor_jax.utils.machine import machine, versions

DRONES, ENVIRONMENTS, STEPS = 16, 8, 500
STEPS_OF_A_TRAINING = {1: 320_000, 16: 64_000, 256: 16_000}
"""Environment steps of each teacher: some seconds of training, whatever the size of the population."""
SOURCE = Path(__file__).with_name("l2f_steps.cpp")


class Version(NamedTuple):
    """A version of this repository, and what it trains with."""

    checkout: Path
    config: str
    """Path of the settings in the checkout."""


class Timing(NamedTuple):
    """What a training took."""

    step_seconds: float
    """Seconds of training for an environment step."""
    updates_per_second: float
    """Updates of all teachers."""
    compile_seconds: float


def main() -> None:
    """Measures in turns, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--core", type=int, default=0, help="the core that everything runs on (default: 0)")
    add("--rounds", type=int, default=5, help="turns of each program (default: 5)")
    add("--against", type=Path, metavar="CHECKOUT", help="another version of this repository, to train beside this one")
    add(
        "--configs",
        nargs=2,
        default=("configs/pre_training.yaml",) * 2,
        metavar="FILE",
        help="settings of the two trainings, each a path in its version (default: both configs/pre_training.yaml)",
    )
    add("--teachers", type=int, nargs="+", choices=STEPS_OF_A_TRAINING, default=[1, 16, 256], help="populations")
    add("--json", type=Path, metavar="FILE", help="also write every measurement to this file")
    options = parser.parse_args()
    # Before jax starts its threads, which inherit it.
    os.sched_setaffinity(0, {options.core})
    jax.config.update("jax_platforms", "cpu")
    result: dict[str, Any] = {"machine": machine(), "versions": versions(), "core": options.core}
    print(f"machine {result['machine']}\nversions {result['versions']}\n")
    result["simulator"] = simulator_rates(options.rounds)
    print_simulator(result["simulator"])
    if options.against:
        versions_compared = {
            "this": Version(Path(__file__).parents[1], options.configs[0]),
            "the other": Version(options.against, options.configs[1]),
        }
        result["configs"] = options.configs
        timings = {teachers: training_times(versions_compared, teachers) for teachers in options.teachers}
        result["training"] = {
            teachers: {name: [turn._asdict() for turn in turns] for name, turns in found.items()}
            for teachers, found in timings.items()
        }
        print_training(timings)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


def simulator_rates(rounds: int) -> dict[str, list[float]]:
    """Returns the steps of a CPU second in every turn, of L2F and of ours."""
    fly, states = prepare_simulator()
    rates: dict[str, list[float]] = {"L2F, C++": [], "raptor_jax": []}
    with tempfile.TemporaryDirectory() as directory:
        program = compiled(SOURCE, FLAGS[:4], Path(directory))
        for _ in range(rounds):
            command = [str(program), str(DRONES * ENVIRONMENTS), "20"]
            turn = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            rates["L2F, C++"].append(turn["steps_per_second"])
            start = time.process_time()
            for _ in range(20):
                jax.block_until_ready(fly(states))
            steps = 20 * STEPS * DRONES * ENVIRONMENTS
            rates["raptor_jax"].append(steps / (time.process_time() - start))
    return rates


def prepare_simulator() -> tuple[Any, State]:
    """Returns a compiled flight of STEPS steps of DRONES x ENVIRONMENTS drones, warm, and where it begins."""
    drones = jax.tree.map(jnp.asarray, sampled(configs.load("configs/pre_training.yaml"), np.arange(DRONES)))
    keys = jax.random.split(jax.random.key(0), (DRONES, ENVIRONMENTS))
    states = jax.vmap(jax.vmap(reset, in_axes=(None, 0)))(drones, keys)

    def one(drone: Drone, state: State, action: jax.Array) -> tuple[State, tuple[jax.Array, jax.Array]]:
        following = step(drone, state, action, Noise())
        return following, (reward(drone, state, action, following), terminated(drone, following))

    @jax.jit
    def fly(drones: Drone, states: State) -> tuple[State, jax.Array, jax.Array]:
        def every(carried: tuple[State, jax.Array, jax.Array], number: jax.Array) -> tuple[Any, None]:
            state, total, ended = carried
            action = 0.1 * jnp.sin(0.1 * number + jnp.arange(ACTION_DIM))
            fly_one = jax.vmap(jax.vmap(one, in_axes=(None, 0, None)), in_axes=(0, 0, None))
            following, (gained, left) = fly_one(drones, state, action)
            return (following, total + gained, ended + left), None

        zero = jnp.zeros((DRONES, ENVIRONMENTS))
        return jax.lax.scan(every, (states, zero, zero), jnp.arange(STEPS, dtype=jnp.float32))[0]

    flight = functools.partial(fly, drones)
    jax.block_until_ready(flight(states))
    return flight, states


def training_times(compared: dict[str, Version], teachers: int, turns: int = 3) -> dict[str, list[Timing]]:
    """Returns what each version takes in each turn."""
    steps = STEPS_OF_A_TRAINING[teachers]
    settings = {
        "steps-per-teacher": steps,
        "eval-frequency": steps,
        "checkpoint-frequency": steps,
        "log-frequency": steps,
        "eval-episodes": 2,
        "final-eval-episodes": 2,
        "pass-return": -1e6,
        "tensorboard-teachers": 0,
    }
    options = [f"--training.{name}={value}" for name, value in settings.items()]
    timings: dict[str, list[Timing]] = {name: [] for name in compared}
    with tempfile.TemporaryDirectory() as directory:
        drones = ["--dynamics-dir", f"{directory}/drones", "--num-teachers", str(teachers)]
        sample = ["sample", "--dynamics-dir", f"{directory}/drones", f"--sampling.num-drones={teachers}"]
        run_command(compared["this"].checkout, sample)
        for turn in range(turns):
            for name, version in compared.items():
                run, cache = (Path(directory, f"{what}_{name}".replace(" ", "_")) for what in (f"run_{turn}", "cache"))
                command = ["train", "--config", version.config, "--device", "cpu", "--output-dir", str(run)]
                only_one = extra_rounds_off(version.checkout)
                run_command(version.checkout, [*command, *drones, *options, *only_one], JAX_COMPILATION_CACHE_DIR=cache)
                timings[name].append(timing(run, steps * teachers))
    return timings


def timing(run: Path, environment_steps: int) -> Timing:
    """Returns what a finished run took."""
    found = json.loads((run / "results.json").read_text())["run"]
    seconds = found["timings"]
    return Timing(seconds["training"] / environment_steps, found["teacher_updates_per_second"], seconds["compiling"])


@functools.cache
def extra_rounds_off(checkout: Path) -> list[str]:
    """Returns the option of a version that switches extra rounds off; version 0.1 makes none for these settings."""
    name = "--training.extra-rounds"
    return [f"{name}=0"] if name in run_command(checkout, ["train", "--help"]) else []


def run_command(checkout: Path, arguments: list[str], **variables: Path) -> str:
    """Runs `raptor-jax` as that checkout has it, and returns what it prints; ends the program if it fails."""
    command = [sys.executable, "-m", "raptor_jax.cli", *arguments]
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout.resolve()),
        **{name: str(path) for name, path in variables.items()},
    }
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} in {checkout}: {done.stderr}")
    return done.stdout


def print_simulator(rates: dict[str, list[float]]) -> None:
    """Prints a row for each program."""
    print("| simulator | M steps/s: median | least to most | of L2F |\n|---|---|---|---|")
    yardstick = statistics.median(rates["L2F, C++"])
    for name, values in rates.items():
        median, spread = statistics.median(values), f"{min(values) / 1e6:.2f} to {max(values) / 1e6:.2f}"
        print(f"| {name} | {median / 1e6:.2f} | {spread} | {median / yardstick:.2f} |")


def print_training(timings: dict[int, dict[str, list[Timing]]]) -> None:
    """Prints a row for each size of the population."""
    columns = (
        "teachers",
        "us a step: other",
        "this",
        "speed",
        "updates/s: other",
        "this",
        "speed",
        "compiled in s: other",
    )
    print(f"\n| {' | '.join((*columns, 'this'))} |\n|{'---|' * 9}")
    for teachers, found in timings.items():
        this, other = (
            Timing(*map(statistics.median, zip(*found[name], strict=True))) for name in ("this", "the other")
        )
        compiled = [found[name][0].compile_seconds for name in ("the other", "this")]
        print(
            f"| {teachers} | {1e6 * other.step_seconds:.2f} | {1e6 * this.step_seconds:.2f}"
            f" | {other.step_seconds / this.step_seconds:.2f} | {other.updates_per_second:.1f}"
            f" | {this.updates_per_second:.1f} | {this.updates_per_second / other.updates_per_second:.2f}"
            f" | {compiled[0]:.0f} | {compiled[1]:.0f} |"
        )


if __name__ == "__main__":
    main()
