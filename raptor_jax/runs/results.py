"""What a run found out about each teacher: `results.json`, and the table at the end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import pydantic
from rich.console import Console
from rich.table import Table
from rich.text import Text

from raptor_jax.drones.files import DroneFile
from raptor_jax.drones.parameters import thrust_to_weight, torque_to_inertia
from raptor_jax.errors import UserError, printable
from raptor_jax.evaluation import Evaluation
from raptor_jax.runs import stored_config
from raptor_jax.utils.files import Unreadable, json_number, read_object
from raptor_jax.utils.machine import machine, versions

FILE = "results.json"
_MAX_BYTES = 1 << 24
"""A teacher takes less than 1 kB."""
JUDGED = (
    "mean_return",
    "std_return",
    "episode_length",
    "share_terminated",
    "final_position_error",
    "position_offset",
    "yaw_offset",
)
"""What the judgement of the kept actor adds to a teacher's entry; null until the end of the run."""


JUST_TRAINED: dict[str, Any] = {
    **dict.fromkeys(JUDGED),
    "stochastic_mean_return": None,
    "passed": None,
    "final_path": None,
}
"""What a teacher's entry says before it is judged."""


Count = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
Number = Annotated[float, pydantic.Field(gt=-1e38, lt=1e38)]


class _Checked(pydantic.BaseModel):
    """What is read of the file; whatever else it holds is left alone."""

    model_config = pydantic.ConfigDict(strict=True, allow_inf_nan=False)


class _Training(_Checked):
    pass_return: Number


class _Config(_Checked):
    training: _Training


class _Versions(_Checked):
    jax: str


class _Run(_Checked):
    status: str
    step: Count
    config: _Config
    device: str
    versions: _Versions


class _Teacher(_Checked):
    teacher_id: Count
    drone: str
    thrust_to_weight: Number
    mass: Number
    best_eval_reward: Number | None
    mean_return: Number | None
    std_return: Number | None
    episode_length: Number | None
    position_offset: Number | None = None
    passed: bool | None
    rounds: Count = 0

    @pydantic.model_validator(mode="after")
    def _judged_as_a_whole(self) -> "_Teacher":
        if self.mean_return is not None and None in (self.std_return, self.episode_length):
            raise ValueError("a mean_return without std_return and episode_length")
        return self


class _File(_Checked):
    run: _Run
    teachers: list[_Teacher]


class Results:
    """The content of `results.json`, brought up to date as the run goes on."""

    def __init__(self, run: dict[str, Any], teacher_ids: Sequence[int], files: Sequence[DroneFile]) -> None:
        """Starts with what is known before the training.

        Args:
            run: the `run` object: config, status and so on; the caller adds to it.
            teacher_ids: [T].
            files: the drone of each teacher, T of them.
        """
        self.run = {
            **run,
            "step": 0,
            "device": jax.devices()[0].device_kind,
            "machine": machine(),
            "versions": versions(),
            "rounds": [],
            "timings": {"compiling": 0.0, "training": 0.0, "evaluating": 0.0},
        }
        self.teachers = [_entry(i, file) for i, file in zip(teacher_ids, files, strict=True)]

    def restore(self, content: dict[str, Any]) -> None:
        """Takes over what a run knew when it was saved; machine, versions and settings are those of now."""
        for name in ("step", "rounds", "timings"):
            self.run[name] = content["run"][name]
        self.teachers = [{**entry, **JUST_TRAINED} for entry in content["teachers"]]

    def add_round(self, rows: Sequence[int], steps: int, updates: int) -> None:
        """Notes a round of training: the rows of its teachers, and the steps and updates of each."""
        trained = [self.teachers[row] for row in rows]
        self.run["rounds"].append(
            {"teacher_ids": [entry["teacher_id"] for entry in trained], "steps": steps, "updates": updates}
        )
        for entry in trained:
            entry["rounds"] += 1

    def set_kept(self, mean_return: Any, step: Any) -> None:
        """Takes over the evaluation [T] that each kept actor won by, and its step [T]."""
        for entry, value, at in zip(self.teachers, np.asarray(mean_return), np.asarray(step), strict=True):
            entry["best_eval_reward"] = json_number(value)
            entry["best_step"] = int(at)

    def set_restarts(self, teacher: int, restarts: int) -> None:
        """Notes how often the numbers of a teacher (its row) became non-finite, and it went on from before."""
        self.teachers[teacher]["restarts"] = restarts

    def set_frozen(self, teacher: int, step: int) -> None:
        """Notes that the numbers of a teacher (its row) became non-finite before `step`."""
        self.teachers[teacher]["frozen_at_step"] = step

    def set_judgement(self, evaluation: Evaluation, pass_return: float, final_path: str) -> None:
        """Takes over the evaluation of the kept actors, and decides who passed."""
        for row, entry in enumerate(self.teachers):
            entry.update({name: json_number(np.asarray(getattr(evaluation, name))[row]) for name in JUDGED})
            entry["passed"] = entry["mean_return"] is not None and entry["mean_return"] > pass_return
            entry["final_path"] = final_path

    def set_stochastic(self, evaluation: Evaluation) -> None:
        """Notes the mean returns of the kept actors with sampled actions, in the episodes that judged them.

        As in `set_judgement`, what follows the T teachers only filled the devices.
        """
        for row, entry in enumerate(self.teachers):
            entry["stochastic_mean_return"] = json_number(np.asarray(evaluation.mean_return)[row])

    @property
    def all_passed(self) -> bool:
        """Returns whether every teacher passed."""
        return all(entry["passed"] for entry in self.teachers)

    def content(self) -> dict[str, Any]:
        """Returns what `results.json` holds."""
        return {"run": self.run, "teachers": self.teachers}


def read(path: Path) -> dict[str, Any]:
    """Returns the content of a `results.json`, checked as far as a reader of it relies on it.

    Raises:
        UserError: there is no such file, or it does not hold the results of a run.
    """
    try:
        content = read_object(path, _MAX_BYTES)
        if isinstance(run := content.get("run"), dict) and "config" in run:
            run["config"] = stored_config.translate(run["config"])
        _File.model_validate(content)
    except Unreadable as error:
        raise UserError(f"{path}: {error}; name the output directory of a run") from None
    except pydantic.ValidationError as error:
        problem = error.errors(include_input=False)[0]
        field = ".".join(map(str, problem["loc"]))
        raise UserError(f"{path}: not the results of a run: {field}: {problem['msg']}; restore the file") from None
    return content


def require_teacher(run: Path, ids: Sequence[int], teacher_id: int) -> None:
    """Raises UserError unless a run has a teacher; `ids` are those that it has."""
    if teacher_id not in ids:
        raise UserError(f"--teacher {teacher_id}: {run} has the teachers {min(ids)} to {max(ids)}; name one of them")


def _entry(teacher_id: int, file: DroneFile) -> dict[str, Any]:
    dynamics = file.drone.dynamics
    return {
        "teacher_id": int(teacher_id),
        "drone": file.path.name,
        "thrust_to_weight": float(thrust_to_weight(dynamics)),
        "torque_to_inertia": float(torque_to_inertia(dynamics)),
        "mass": float(dynamics.mass),
        "best_eval_reward": None,
        "best_step": None,
        **JUST_TRAINED,
        "restarts": 0,
        "frozen_at_step": None,
        "rounds": 0,
    }


def _verdict(entry: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """Returns the texts of the mean return, the episode length, the offset, the rounds and whether it passed."""
    rounds = str(entry.get("rounds", "-"))
    if entry["passed"] is None:
        best = entry["best_eval_reward"]
        return ("-" if best is None else f"best {best:.0f}"), "-", "-", rounds, "not judged"
    if entry["mean_return"] is None:
        return "not finite", "-", "-", rounds, "[red]no[/]"
    passed = "[green]yes[/]" if entry["passed"] else "[red]no[/]"
    offset = entry.get("position_offset")
    return (
        f"{entry['mean_return']:.0f} +- {entry['std_return']:.0f}",
        f"{entry['episode_length']:.0f}",
        "-" if offset is None else f"{offset:.2f}",
        rounds,
        passed,
    )


def print_table(teachers: Sequence[dict[str, Any]], pass_return: float, console: Console, longest: int = 40) -> None:
    """Prints the teachers: all of them, or the worst `longest` of a large population; and a summary."""
    order = sorted(teachers, key=lambda entry: -np.inf if entry["mean_return"] is None else entry["mean_return"])
    shown = sorted(order[:longest], key=lambda entry: entry["teacher_id"]) if len(order) <= longest else order[:longest]
    console.print("Teachers:" if len(order) <= longest else f"The {longest} lowest of {len(order)} teachers:")
    table = Table()
    numbers = ("thrust/weight", "mass [kg]", "mean return", "episode length", "offset [m]", "rounds", "passed")
    for heading in ("teacher", "drone", *numbers):
        table.add_column(heading, justify="left" if heading == "drone" else "right", no_wrap=True)
    for entry in shown:
        table.add_row(
            f"{entry['teacher_id']:04d}",
            Text(printable(entry["drone"])),
            f"{entry['thrust_to_weight']:.2f}",
            f"{entry['mass']:.3f}",
            *_verdict(entry),
        )
    console.print(table)
    judged = [entry for entry in teachers if entry["passed"] is not None]
    if judged:
        returns = [entry["mean_return"] for entry in judged if entry["mean_return"] is not None]
        spread = (
            f"median {np.median(returns):.0f}, 5th percentile {np.percentile(returns, 5):.0f}, worst {min(returns):.0f}"
            if returns
            else "no finite return"
        )
        passed = sum(entry["passed"] for entry in judged)
        console.print(f"{passed} of {len(teachers)} passed (mean return above {pass_return:g}); {spread}")
