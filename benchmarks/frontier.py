"""Return against compute: trains the same drones by every method on one core, and draws what each second buys.

    python -m benchmarks.frontier --dynamics-dir DIR [--rltools CURVE.csv --rltools-drone DRONE.json]

Core-seconds are seconds of training on one core, divided by the number of teachers; compilation and evaluations are
left out. With --rltools a second panel shows RLtools' curve on a drone (columns cpu_s, return_mean; the CPU seconds are
of the machine that it was recorded on), and ours on the same drone and task.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

METHODS = {
    "horizon 200 (the default)": [],
    "horizon 200, from scratch": ["--training.start", "scratch"],
    "horizon 100": ["--sac.horizon", "100", "--environment.environments-per-teacher", "8"],
    "horizon 64": ["--sac.horizon", "64", "--environment.environments-per-teacher", "12"],
    "horizon 32": ["--sac.horizon", "32", "--environment.environments-per-teacher", "25"],
    "horizon 0, model-free (configs/model_free.yaml)": ["--config", "configs/model_free.yaml"],
}
RLTOOLS_TASK = ["--environment.task=raptor", "--environment.l2f-initial-angle=true", "--training.pass-return=300"]


def main() -> None:
    """Trains, draws, and prints the last point of every method."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dynamics-dir", type=Path, required=True, help="the drones")
    parser.add_argument("--rltools", type=Path, help="a curve of RLtools")
    parser.add_argument("--rltools-drone", type=Path, help="the JSON file of its drone; goes with --rltools")
    parser.add_argument("--core", type=int, default=0, help="the core that everything runs on (default: 0)")
    parser.add_argument("--work", type=Path, default=Path("experiments/frontier"), help="where the runs go")
    parser.add_argument("--picture", type=Path, default=Path("docs/frontier.png"), help="what to draw")
    options = parser.parse_args()
    if (options.rltools is None) != (options.rltools_drone is None):
        parser.error("--rltools and --rltools-drone go together")
    # One core for this process and all that it starts: its wall clock then counts core-seconds.
    os.sched_setaffinity(0, {options.core})

    panels = 2 if options.rltools else 1
    figure, axes = plt.subplots(1, panels, figsize=(6.5 * panels, 4.5), squeeze=False)
    for color, (name, arguments) in zip(("C0", "C1", "C5", "C2", "C4", "C3"), METHODS.items(), strict=True):
        run = train(options, name, options.dynamics_dir, arguments)
        draw(axes[0, 0], run, name, color)
    axes[0, 0].set(
        title="median (line), 5th percentile (dashes), worst to best (band)", ylabel="mean return", ylim=(-220, None)
    )
    if options.rltools:
        draw_rltools(options, axes[0, 1])
    for axis in axes[0]:
        axis.set(xlabel="core-seconds for each teacher", xscale="log", xlim=(0.2, None))
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    figure.tight_layout()
    figure.savefig(options.picture, dpi=120)
    print(f"drawn: {options.picture}")


def train(options: argparse.Namespace, name: str, dynamics: Path, arguments: list[str]) -> Path:
    """Trains by one method, unless the work directory already holds that run; returns the run."""
    run = options.work / "".join(c if c.isalnum() else "_" for c in name)
    if not (run / "results.json").is_file():
        command = [sys.executable, "-m", "raptor_jax.cli", "train", "--dynamics-dir", str(dynamics), "--device", "cpu"]
        command += ["--output-dir", str(run), "--training.extra-rounds", "0", *arguments]
        # Status 3: not every teacher passed.
        if (status := subprocess.run(command, check=False).returncode) not in (0, 3):
            sys.exit(status)
    return run


def curve(run: Path) -> tuple[np.ndarray, np.ndarray, dict]:
    """Returns core-seconds for a teacher [S], mean returns [S, T], and the run's results."""
    results = json.loads((run / "results.json").read_text())
    with np.load(run / "curves.npz") as curves:
        steps, returns = curves["eval_step"], curves["eval_reward"]
    seconds = results["run"]["timings"]["training"] / returns.shape[1]
    # The first point is before any update of the networks; on a logarithmic axis it has no place at 0.
    return seconds * np.maximum(steps, steps[-1] / 1000) / steps[-1], returns, results


def draw(axis: Axes, run: Path, name: str, color: str) -> None:
    """Draws a run's median and extremes, and prints its judgement."""
    seconds, returns, results = curve(run)
    axis.plot(seconds, np.median(returns, axis=1), color=color, label=name)
    axis.plot(seconds, np.percentile(returns, 5, axis=1), color=color, linestyle="--", linewidth=0.8)
    axis.fill_between(seconds, returns.min(axis=1), returns.max(axis=1), color=color, alpha=0.12)
    judged = np.array([teacher["mean_return"] for teacher in results["teachers"]])
    low, median = np.percentile(judged, [5, 50])
    passed = sum(teacher["passed"] for teacher in results["teachers"])
    print(
        f"{name}: {seconds[-1]:.1f} core-seconds, median {median:.0f}, 5th percentile {low:.0f},"
        f" worst {judged.min():.0f}, {passed} of {len(judged)} pass"
        f" ({results['run']['machine']['processor']}, jax {results['run']['versions']['jax']})"
    )


def draw_rltools(options: argparse.Namespace, axis: Axes) -> None:
    """Draws RLtools' curve of one drone, and ours on the same drone and task."""
    own = options.work / "rltools_drone"
    own.mkdir(parents=True, exist_ok=True)
    shutil.copy(options.rltools_drone, own / "0000.json")
    theirs = np.genfromtxt(options.rltools, delimiter=",", names=True)
    axis.plot(theirs["cpu_s"], theirs["return_mean"], color="black", label="RLtools, its own settings (other machine)")
    for name, arguments in list(METHODS.items())[:2]:
        run = train(options, f"rltools {name}", own, [*RLTOOLS_TASK, *arguments])
        seconds, returns, results = curve(run)
        axis.plot(seconds, returns[:, 0], label=name)
        (teacher,) = results["teachers"]
        error = teacher["std_return"] / np.sqrt(results["run"]["config"]["training"]["final_eval_episodes"])
        print(f"its drone, {name}: {teacher['mean_return']:.0f} +- {error:.0f}, {seconds[-1]:.1f} core-seconds")
    print(f"its drone, RLtools: {theirs['return_mean'][-1]:.0f} after {theirs['cpu_s'][-1]:.0f} CPU-seconds")
    axis.set(title="RLtools' drone, RAPTOR's task", ylabel="mean return", ylim=(-120, None))


if __name__ == "__main__":
    main()
