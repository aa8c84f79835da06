"""Runs as labelled arrays: the returns and curves of every teacher, with the parameters of its drone.

    population = analysis.load("experiments/pre_training")
    population.teachers["mean_return"]               # (T,), a value for each teacher
    population.teachers["thrust_to_weight"]          # (T,), of its drone
    population.evaluation["reward"]                  # (T, S), over population.evaluation.step, (S,)
    population.to_dataframe()                        # the same for pandas (extra `notebook`)
    population.curves_to_dataframe("evaluation")

Several runs, on slices of one set of drones or with several seeds on the same drones, are read as one population: a
teacher is identified by its run and its `teacher_id`. Rows have the same order everywhere.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from raptor_jax.drones import files, parameters
from raptor_jax.drones.parameters import Drone
from raptor_jax.drones.quantities import PARAMETERS
from raptor_jax.errors import UserError
from raptor_jax.runs import frames, layout
from raptor_jax.runs.curves import load_curves
from raptor_jax.runs.results import Results, read

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclasses.dataclass(frozen=True)
class Curves:
    """Curves of T teachers at S points; `curves["reward"]` is one of them."""

    step: np.ndarray
    """[S] environment steps of a teacher; the step at which an extra round begins occurs twice, before and after."""
    values: dict[str, np.ndarray]
    """[T, S] by name; NaN where a teacher has nothing to report, as outside the rounds that trained it."""

    def __getitem__(self, name: str) -> np.ndarray:
        """Returns a curve of every teacher, [T, S]."""
        return self.values[name]


@dataclasses.dataclass(frozen=True)
class Population:
    """The T teachers of one run or of several."""

    runs: list[dict[str, Any]]
    """The `run` object of each `results.json`: configuration, versions, machine, timings."""
    teachers: dict[str, np.ndarray]
    """[T] by name: all fields of a teacher in `results.json`; the PARAMETERS of its drone; and, of its run, the index
    in `runs` (`run`), the `pass_return`, and whether it had its final evaluation (`judged`). A missing number is NaN;
    `passed` is then False."""
    drones: Drone
    """Every array [T, ...]."""
    evaluation: Curves
    """Curves of the evaluations during the training: `reward`, `episode_length`, `share_terminated`..."""
    training: Curves
    """Curves of the training itself: `episode_reward`, `critic_loss`, `actor_loss`, `alpha`, `q_value`..."""

    def __len__(self) -> int:
        """Returns T."""
        return len(self.teachers["teacher_id"])

    def to_dataframe(self) -> "DataFrame":
        """Returns `teachers` as a pandas DataFrame, with a row for each teacher in the order of the arrays.

        Raises:
            UserError: pandas is not installed.
        """
        return frames.teachers_frame(self.teachers)

    def curves_to_dataframe(self, curves: Literal["evaluation", "training"] = "evaluation") -> "DataFrame":
        """Returns curves as a tidy pandas DataFrame: a row for each teacher and point, a column for each value.

        The columns `run`, `teacher_id` and `step` identify a row, except that an extra round begins at the step at
        which the previous round ended. Points at which a teacher has no value are left out.

        Args:
            curves: `evaluation` or `training`.

        Raises:
            UserError: pandas is not installed, or there are no such curves.
        """
        if curves not in ("evaluation", "training"):
            raise UserError(f"curves: {curves!r} should be 'evaluation' or 'training'")
        found: Curves = getattr(self, curves)
        return frames.curves_frame(self.teachers["run"], self.teachers["teacher_id"], found.step, found.values)


def load(*runs: str | Path) -> Population:
    """Reads the output directories of one or more runs, finished or not.

    Raises:
        UserError: a directory contains no run with curves, or its files are inconsistent.
    """
    if not runs:
        raise UserError("no run to read; name the output directory of at least one")
    found = [_read(Path(run)) for run in runs]
    drones = parameters.stack([drone for run in found for drone in run.drones])
    curves = [run.curves for run in found]
    return Population(
        [run.results.run.model_dump() for run in found],
        _columns(found) | {name: parameter.of(drones.dynamics) for name, parameter in PARAMETERS.items()},
        drones,
        _joined(curves, "eval"),
        _joined(curves, "train"),
    )


def returns(population: Population) -> np.ndarray:
    """Returns the mean returns [T] of the final evaluation, or the best so far if a run had no final evaluation yet."""
    teachers = population.teachers
    return np.where(teachers["judged"], teachers["mean_return"], teachers["best_eval_reward"])


def ceiling_shares(population: Population) -> np.ndarray:
    """Returns the returns as shares of the ceilings [T], in the same episodes; NaN without a positive ceiling."""
    ceiling, own = population.teachers["ceiling"], population.teachers["ceiling_return"]
    return np.divide(own, ceiling, out=np.full(len(population), np.nan), where=ceiling > 0)


def best_so_far(population: Population) -> np.ndarray:
    """Returns the evaluated return of the actor kept at each point of `population.evaluation`, [T, S]."""
    return np.fmax.accumulate(population.evaluation["reward"], axis=1)


def steps_to_pass(population: Population) -> np.ndarray:
    """Returns the steps [T] at the first evaluation above the pass return; NaN for teachers without one.

    These evaluations select the kept actor; whether it passes is decided in other episodes.
    """
    above = population.evaluation["reward"] > population.teachers["pass_return"][:, None]
    return np.where(above.any(axis=1), population.evaluation.step[above.argmax(axis=1)], np.nan)


class _Run(NamedTuple):
    results: Results
    curves: dict[str, np.ndarray]
    drones: list[Drone]


def _read(run: Path) -> _Run:
    results = read(run / layout.RESULTS)
    ids = [entry.teacher_id for entry in results.teachers]
    curves = _read_curves(run / layout.CURVES)
    drones = [file.drone for file in files.load_directory(layout.drones(run))]
    if curves["teacher_id"].tolist() != ids or len(drones) != len(ids):
        raise UserError(
            f"{run}: {layout.RESULTS} has {len(ids)} teachers, {layout.CURVES} {len(curves['teacher_id'])} and"
            f" {layout.CHECKPOINTS}/{layout.DYNAMICS} {len(drones)}, or in another order; restore the files of one run"
        )
    return _Run(results, curves, drones)


def _read_curves(path: Path) -> dict[str, np.ndarray]:
    curves = load_curves(path)
    if missing := {"eval_step", "eval_reward"} - curves.keys():
        raise UserError(f"{path}: holds no {min(missing)}; restore the file")
    return curves


def _columns(runs: Sequence[_Run]) -> dict[str, np.ndarray]:
    """Returns the fields of all teachers in `results.json`, and those of their run, [T] by name."""
    entries = [
        {
            **entry.model_dump(),
            "run": number,
            "pass_return": run.results.run.pass_return,
            "judged": run.results.run.status == "finished",
        }
        for number, run in enumerate(runs)
        for entry in run.results.teachers
    ]
    columns = {name: _column([entry.get(name) for entry in entries]) for name in entries[0]}
    return columns | {"passed": columns["passed"] == 1}


def _column(values: list[Any]) -> np.ndarray:
    # Fields of other programs may contain anything, even lists of different lengths.
    values = [value if isinstance(value, str | int | float) else None for value in values]
    if any(isinstance(value, str) for value in values):
        return np.array([value or "" for value in values])
    return np.array([np.nan if value is None else value for value in values])


def _joined(runs: Sequence[dict[str, np.ndarray]], group: str) -> Curves:
    """Returns a group of curves of all runs over the union of their points."""
    points = [_points(run.get(f"{group}_step", np.empty(0, np.int64))) for run in runs]
    union = sorted(set().union(*points))
    prefix = f"{group}_"
    names = {name for run in runs for name in run if name.startswith(prefix)} - {f"{group}_step"}
    values = {
        name.removeprefix(prefix): np.concatenate(
            [
                _spread(run, name, [union.index(p) for p in own], len(union))
                for run, own in zip(runs, points, strict=True)
            ]
        )
        for name in sorted(names)
    }
    return Curves(np.array([step for step, _ in union], np.int64), values)


def _points(steps: np.ndarray) -> list[tuple[int, int]]:
    """Returns a label for each point: its step, and the number of earlier points at that step."""
    seen: Counter[int] = Counter()
    labels = []
    for step in steps.tolist():
        labels.append((step, seen[step]))
        seen[step] += 1
    return labels


def _spread(run: dict[str, np.ndarray], name: str, places: list[int], points: int) -> np.ndarray:
    """Returns a run's curve [S', T'] at its places among all points, [T', S]; NaN where it has none."""
    spread = np.full((len(run["teacher_id"]), points), np.nan, np.float32)
    if name in run:
        spread[:, places] = run[name].T
    return spread
