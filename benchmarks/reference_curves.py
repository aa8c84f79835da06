"""Trains drones of the reference with RLtools' own settings, and draws the curves over RLtools'.

    python -m benchmarks.reference_curves --reference DIR

DIR holds RLtools' `dynamics/N.json` and `curves/drone_N_raptor_task.csv` (columns step, return_mean, episode_length,
alpha). Every drone is trained from several seeds at once, as so many teachers of one population.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from raptor_jax.utils.machine import machine, versions

CONFIG = "configs/raptor_reference.yaml"
PANELS = {
    "mean return (of 750)": ("eval_reward", "return_mean"),
    "episode length (of 500)": ("eval_episode_length", "episode_length"),
    "alpha": ("train_alpha", "alpha"),
}


def main() -> None:
    """Trains, draws, and prints the table of the last step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="the reference's directory")
    parser.add_argument("--drones", type=int, nargs="+", default=[0, 1], help="their numbers (default: 0 1)")
    parser.add_argument("--seeds", type=int, default=3, help="teachers for each drone (default: 3)")
    parser.add_argument("--steps", type=int, default=60_000, help="environment steps of a teacher (default: 60000)")
    parser.add_argument("--work", type=Path, default=Path("experiments/reference_curves"), help="where the run goes")
    parser.add_argument("--picture", type=Path, default=Path("docs/reference_curves.png"), help="what to draw")
    options = parser.parse_args()

    train(options)
    with np.load(options.work / "run" / "curves.npz") as file:
        curves = dict(file)
    draw(options, curves)
    print_table(options, curves)


def train(options: argparse.Namespace) -> None:
    """Trains `seeds` teachers on each drone, unless the work directory already holds that run."""
    dynamics, run = options.work / "dynamics", options.work / "run"
    if run.exists():
        print(f"drawing the run that is in {run}")
        return
    dynamics.mkdir(parents=True)
    for row, number in enumerate(np.repeat(options.drones, options.seeds)):
        shutil.copy(options.reference / "dynamics" / f"{number}.json", dynamics / f"{row:04d}.json")
    command = [sys.executable, "-m", "raptor_jax.cli", "train", "--config", CONFIG, "--dynamics-dir", str(dynamics)]
    command += ["--output-dir", str(run), "--training.steps-per-teacher", str(options.steps), "--device", "cpu"]
    # Status 3: these few steps need not reach the bar.
    if (status := subprocess.run(command, check=False).returncode) not in (0, 3):
        sys.exit(status)


def reference_curve(options: argparse.Namespace, number: int) -> np.ndarray:
    """Returns RLtools' curve of a drone, one record for each evaluation, up to the steps that were trained."""
    path = options.reference / "curves" / f"drone_{number}_raptor_task.csv"
    curve = np.genfromtxt(path, delimiter=",", names=True)
    return curve[curve["step"] <= options.steps]


def draw(options: argparse.Namespace, curves: dict[str, np.ndarray]) -> None:
    """Draws a row of panels for each drone: each seed, and RLtools'."""
    figure, axes = plt.subplots(
        len(options.drones), len(PANELS), figsize=(12, 3.2 * len(options.drones)), squeeze=False, layout="constrained"
    )
    for row, number in enumerate(options.drones):
        reference = reference_curve(options, number)
        teachers = slice(row * options.seeds, (row + 1) * options.seeds)
        for axis, (title, (ours, theirs)) in zip(axes[row], PANELS.items(), strict=True):
            step = curves[f"{ours.split('_')[0]}_step"]
            lines = axis.plot(step, curves[ours][:, teachers], color="tab:blue", linewidth=1, marker=".", zorder=3)
            lines[0].set_label(f"raptor_jax, {options.seeds} seeds")
            axis.plot(
                reference["step"], reference[theirs], color="black", linewidth=2, marker="o", label="RLtools, one run"
            )
            axis.set_title(f"drone {number}: {title}", fontsize=10)
            axis.set_xlabel("environment steps")
            axis.grid(alpha=0.3)
    axes[0][0].legend()
    options.picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.picture, dpi=110)
    print(f"wrote {options.picture}")


def print_table(options: argparse.Namespace, curves: dict[str, np.ndarray]) -> None:
    """Prints both programs' values at every evaluation."""
    print(f"machine {machine()}\nversions {versions()}")
    print("| drone | step | RLtools: return, length, alpha | raptor_jax, each seed: return; length; alpha |")
    print("|---|---|---|---|")
    for row, number in enumerate(options.drones):
        teachers = slice(row * options.seeds, (row + 1) * options.seeds)
        for record in reference_curve(options, number):
            points = [ours_at(curves, name, record["step"])[teachers] for name, _ in PANELS.values()]
            if np.isnan(points[0]).all():
                continue
            shown = "; ".join(
                ", ".join(f"{value:.{digits}f}" for value in values)
                for values, digits in zip(points, (0, 0, 3), strict=True)
            )
            theirs = f"{record['return_mean']:.0f}, {record['episode_length']:.0f}, {record['alpha']:.3f}"
            print(f"| {number} | {record['step']:.0f} | {theirs} | {shown} |")


def ours_at(curves: dict[str, np.ndarray], name: str, step: float) -> np.ndarray:
    """Returns a curve's values [T] at a step, NaN where it has no point."""
    steps = curves[f"{name.split('_')[0]}_step"]
    found = np.flatnonzero(steps == step)
    return curves[name][found[0]] if found.size else np.full(curves[name].shape[1], np.nan)


if __name__ == "__main__":
    main()
