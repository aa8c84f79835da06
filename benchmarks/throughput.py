"""Speed and memory of the simulator and of training against the number of teachers, beside what the machine can do.

    python -m benchmarks.throughput [--teachers 1 16 256] [--precision float32 bfloat16] [--main-round N] [--json FILE]

Runs the programs that `raptor-jax train` runs, on all devices, from a full replay, and counts wall-clock time: the
median of three turns. Every row has a process of its own, so that the peak of the device's memory is that row's. Limits
are measured first, of one device: a large matrix product in the precision of the row, and a triad over memory. "Of
bandwidth" counts the least that must move: in an update of SAC every weight, moment and target, once in and once out;
in a step of the simulator its episode. FLOP are counted as in `benchmarks.rltools`. Pinned to one core (`taskset -c 0`)
its rates are those of a core, if the column of busy processors says that it had all of it.
"""

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import jax

from benchmarks import limits
from benchmarks.throughput_rows import UPDATES_ON_A_PROCESSOR, simulator_row, training_row
from raptor_jax import config as configs
from raptor_jax.drones.sampling import write_drones
from raptor_jax.errors import UserError
from raptor_jax.runs import layout
from raptor_jax.utils.files import write_json
from raptor_jax.utils.machine import machine, versions

SETTINGS = ("configs/pre_training.yaml", "configs/model_free.yaml", "configs/raptor_reference.yaml")
PRECISIONS = ("float32", "tensorfloat32", "bfloat16")
COLUMNS = {
    "setting": ("setting", "{}"),
    "precision": ("precision", "{}"),
    "teachers": ("teachers", "{}"),
    "teacher-updates/s": ("updates_per_second", "{:.4g}"),
    "environment steps/s": ("steps_per_second", "{:.3g}"),
    "GFLOP/s": ("gflops", "{:.4g}"),
    "of GEMM peak": ("of_gemm_peak", "{:.1%}"),
    "of bandwidth": ("of_bandwidth", "{:.1%}"),
    "processors busy": ("processors_busy", "{:.2f}"),
    "compiled in s": ("compile_seconds", "{:.1f}"),
    "B a transition": ("transition_bytes", "{}"),
    "learner, KiB each": ("learner_kib", "{:.0f}"),
    "XLA's temporaries, MiB": ("temporaries_mib", "{:.1f}"),
    "memory peak, of planned": ("peak_of_planned", "{:.1%}"),
    "note": ("note", "{}"),
}
"""Heading of the table: which value of a row stands under it, in what form."""


def main() -> None:
    """Measures row after row; prints each at once, and writes all so far."""
    options = parse()
    # Every other process inherits both: memory as `raptor-jax train` takes it, and nothing that was compiled before.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    result = in_own_process(describe, options)
    result["rows"] = []
    print(f"machine {result['machine']}\nversions {result['versions']}")
    peaks = ", ".join(f"{name} {rate:,.0f} GFLOP/s" for name, rate in result["limits"]["gemm_gflops"].items())
    print(f"limits of a device: matrix products {peaks}; memory {result['limits']['bandwidth_gbs']:,.1f} GB/s\n")
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    rows: list[tuple[Any, ...]] = [(simulator_row, count) for count in options.teachers]
    rows += [
        (training_row, setting, precision, count)
        for setting in options.configs
        for precision in options.precision
        for count in options.teachers
    ]
    for function, *arguments in rows:
        row = in_own_process(function, options, result["limits"], *arguments)
        result["rows"].append(row)
        print(as_markdown(row), flush=True)
        save(options, result)
    print_extrapolation(result["rows"])
    if options.main_round:
        result["main_round"] = main_round(options.configs[0], options.main_round)
        made = result["main_round"]
        print("\nmain round: {teachers} teachers, {seconds:.1f} s, {share_passed:.1%} passed".format(**made))
        save(options, result)


def parse() -> argparse.Namespace:
    """Returns the options; ends the program if a setting cannot be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--teachers", type=int, nargs="*", default=[1, 4, 16, 64, 256, 1000], help="sizes of the population")
    add("--configs", nargs="+", default=SETTINGS, help="YAML files (default: %(default)s)")
    add("--precision", nargs="+", choices=PRECISIONS, default=["float32"], help="of the networks' products")
    add("--environments", type=int, default=64, help="of each drone in the simulator's rows (default: %(default)s)")
    add("--seconds", type=float, default=5, help="least length of a turn, of three (default: %(default)s)")
    own = f"default: as in a run; {UPDATES_ON_A_PROCESSOR} on a processor, where a run's may take half an hour"
    add("--chunk-updates", type=int, help=f"most updates in a call ({own})")
    add("--memory-gib", type=float, help="plan with so much at most (default: all that is free)")
    add("--main-round", type=int, metavar="N", help="also time the main round of N teachers by the first setting")
    add("--profile", type=Path, metavar="DIR", help="also write a profile of one call of each row here")
    add("--json", type=Path, metavar="FILE", help="also write every number to this file")
    options = parser.parse_args()
    try:
        for setting in options.configs:
            configs.load(setting)
    except UserError as error:
        sys.exit(f"error: {error}")
    return options


def in_own_process(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Returns what a function returns in a fresh process; this one never touches a device."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def describe(options: argparse.Namespace) -> dict[str, Any]:
    """Returns machine, versions and limits."""
    device = jax.devices()[0]
    used = {"device": device.device_kind, "devices": jax.device_count(), "cores_used": len(os.sched_getaffinity(0))}
    return {
        "machine": {**machine(), **used},
        "versions": {**versions(), "platform": " ".join(device.client.platform_version.split())},
        "limits": limits.measure(options.precision, options.seconds / limits.TURNS),
    }


def main_round(setting: str, teachers: int) -> dict[str, Any]:
    """Returns the time of a main round as a user starts it, with nothing compiled before, and what came of it."""
    with tempfile.TemporaryDirectory() as directory:
        dynamics, output = Path(directory) / "dynamics", Path(directory) / "run"
        write_drones(dynamics, configs.load(setting).sampling, teachers)
        command = [sys.executable, "-m", "raptor_jax.cli", "train", "--config", setting]
        # The length of extra rounds depends on the drones.
        command += ["--dynamics-dir", str(dynamics), "--output-dir", str(output), "--training.extra-rounds", "0"]
        began = time.perf_counter()
        status = subprocess.run(command, check=False, stdout=sys.stderr).returncode
        seconds = time.perf_counter() - began
        # Status 3: not every teacher passed.
        if status not in (0, 3):
            sys.exit(f"error: the main round ended with status {status}")
        found = json.loads((output / layout.RESULTS).read_text())
    passed = sum(teacher["passed"] for teacher in found["teachers"])
    about = {name: found["run"][name] for name in ("timings", "rounds")}
    return {"setting": setting, "teachers": teachers, "seconds": seconds, "share_passed": passed / teachers, **about}


def as_markdown(row: dict[str, Any]) -> str:
    """Returns a row of the table; what it has no value for stays empty."""
    return f"| {' | '.join(form.format(row[key]) if key in row else '' for key, form in COLUMNS.values())} |"


def print_extrapolation(rows: list[dict[str, Any]]) -> None:
    """Prints, for each setting and precision, how long 1000 teachers take at the rate of the largest population."""
    largest = {(row["setting"], row["precision"]): row for row in rows if "updates_per_second" in row}
    print()
    for (setting, precision), row in largest.items():
        million, run = (1000 * count / row["updates_per_second"] / 60 for count in (10**6, row["updates_of_a_run"]))
        print(
            f"{setting}, {precision}, at the rate with {row['teachers']}: 1000 teachers x 1M updates in {million:,.0f}"
            f" minutes; x the {row['updates_of_a_run']:,} of a run in {run:,.1f} minutes"
        )


def save(options: argparse.Namespace, result: dict[str, Any]) -> None:
    """Writes what was measured so far, if that is asked for."""
    if options.json:
        write_json(options.json, result)


if __name__ == "__main__":
    main()
