"""How many teachers does a student take? Distils students of more and more teachers, and draws what each reaches.

    python -m benchmarks.students RUN --drones DIR [--counts 16,64,256,1000] [--work DIR] [--picture PNG]

Every student makes the same number of iterations (--iterations) and is evaluated on the same drones, which no teacher
knows, on both built-in tasks. A student that the work directory already holds is not made again. Prints the machine,
the versions, and for each task and student the median and the 5th percentile of its mean returns over the drones.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from raptor_jax.drones.tasks import PASS_RETURN
from raptor_jax.utils.machine import machine, versions


def main() -> None:
    """Distils, evaluates, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="output directory of the teachers' run")
    parser.add_argument("--drones", type=Path, required=True, help="drones that no teacher knows")
    parser.add_argument("--counts", default="16,64,256,1000", help="numbers of teachers (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=400, help="of each student (default: %(default)s)")
    parser.add_argument("--episodes", type=int, default=10, help="of each drone (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=Path("experiments/students"), help="where the students go")
    parser.add_argument("--picture", type=Path, default=Path("docs/students.png"), help="what to draw")
    options = parser.parse_args()
    counts = [int(count) for count in options.counts.split(",")]
    print(f"machine: {machine()}\nversions: {versions()}")
    students = {count: distilled(options, count) for count in counts}

    figure, axes = plt.subplots(1, len(PASS_RETURN), figsize=(10, 3.5), layout="constrained")
    for axis, task in zip(axes, PASS_RETURN, strict=True):
        found = np.array([np.percentile(returns(options, students[count], task), [50, 5]) for count in counts])
        for count, (median, low) in zip(counts, found, strict=True):
            print(f"{task:8} {count:5d} teachers: median {median:.0f}, 5th percentile {low:.0f}")
        axis.plot(counts, found[:, 0], "o-", label="median of the drones")
        axis.plot(counts, found[:, 1], "o--", label="5th percentile")
        axis.axhline(PASS_RETURN[task], color="gray", linewidth=0.8, linestyle=":", label="passes above")
        axis.set(title=f"task: {task}", xlabel="teachers", ylabel="mean return of the student", xscale="log")
        axis.set_xticks(counts, [str(count) for count in counts])
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(options.picture, dpi=120)
    print(f"drawn: {options.picture}")


def distilled(options: argparse.Namespace, count: int) -> Path:
    """Returns the student of the first `count` teachers; distils it unless it is there."""
    student: Path = options.work / f"of_{count}"
    results = student / "student.json"
    if not results.is_file() or json.loads(results.read_text())["status"] != "finished":
        what = [f"--teachers=0:{count}", f"--distillation.iterations={options.iterations}"]
        run_command(
            ["distill", str(options.run), "--output-dir", str(student), "--device", "cpu", "--overwrite", *what]
        )
    return student


def returns(options: argparse.Namespace, student: Path, task: str) -> np.ndarray:
    """Returns the mean returns [D] of a student on the drones."""
    numbers = student / f"{task}.json"
    if not numbers.is_file():
        what = ["--drones", str(options.drones), "--task", task, f"--episodes={options.episodes}", "--device", "cpu"]
        run_command(["evaluate", str(student), *what, "--json", str(numbers)])
    return np.array(json.loads(numbers.read_text())["student"]["mean_return"])


def run_command(arguments: list[str]) -> None:
    """Runs a command of `raptor-jax`. Status 3: not every drone was passed."""
    status = subprocess.run([sys.executable, "-m", "raptor_jax.cli", *arguments], check=False).returncode
    if status not in (0, 3):
        sys.exit(status)


if __name__ == "__main__":
    main()
