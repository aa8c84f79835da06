"""The results of one teacher: an entry of `teachers` in `results.json`."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import pydantic

from raptor_jax.drones.files import DroneFile
from raptor_jax.drones.parameters import thrust_to_weight, torque_to_inertia
from raptor_jax.evaluation import Evaluation

Count = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
Number = Annotated[float, pydantic.Field(gt=-1e38, lt=1e38)]


class Model(pydantic.BaseModel):
    """A part of `results.json`: numbers are finite, and unknown fields are kept."""

    model_config = pydantic.ConfigDict(strict=True, allow_inf_nan=False, extra="allow")


class TeacherResult(Model):
    """An entry of `teachers`. Results of the final evaluation are None before it, and None if they are not finite."""

    teacher_id: Count
    drone: str
    """The file name of its drone."""
    thrust_to_weight: Number
    torque_to_inertia: Number | None = None
    mass: Number
    best_eval_reward: Number | None
    """Mean return in the evaluation that selected the kept actor."""
    best_step: Count | None = None
    """Environment steps of the teacher at that evaluation."""
    mean_return: Number | None
    std_return: Number | None
    episode_length: Number | None
    share_terminated: Number | None = None
    final_position_error: Number | None = None
    position_offset: Number | None = None
    yaw_offset: Number | None = None
    stochastic_mean_return: Number | None = None
    """With sampled actions, in the same episodes."""
    passed: bool | None
    final_path: str | None = None
    """The checkpoint of the kept actor, relative to the output directory."""
    ceiling: Number | None = None
    """Mean of the best returns found by `ceiling` in its episodes: a lower bound of the best possible mean return."""
    ceiling_return: Number | None = None
    """Mean return of the kept actor in these episodes, the first `ceiling_episodes` of the final evaluation."""
    ceiling_episodes: Count | None = None
    ceiling_share_terminated: Number | None = None
    """Fraction of them in which the best flight found ends by termination."""
    restarts: Count = 0
    """How often the teacher was rolled back and restarted because its numbers became non-finite."""
    frozen_at_step: Count | None = None
    """The step before which its numbers became non-finite and it was not restarted again."""
    rounds: Count = 0
    """Rounds of training that it finished."""

    @pydantic.model_validator(mode="after")
    def _evaluated_completely(self) -> "TeacherResult":
        if self.mean_return is not None and None in (self.std_return, self.episode_length):
            raise ValueError("a mean_return without std_return and episode_length")
        if self.ceiling is not None and self.ceiling_return is None:
            raise ValueError("a ceiling without ceiling_return")
        return self


FINAL = tuple(field.name for field in dataclasses.fields(Evaluation))
"""Fields of a teacher that the final evaluation sets."""
CEILING = ("ceiling", "ceiling_return", "ceiling_episodes", "ceiling_share_terminated")
"""Fields of a teacher that the command `ceiling` sets; None before it, and after the teacher is trained further."""
BEFORE_FINAL: dict[str, Any] = dict.fromkeys((*FINAL, "stochastic_mean_return", "passed", "final_path", *CEILING))
"""A teacher's fields before the final evaluation."""


def untrained(ids: Sequence[int], files: Sequence[DroneFile]) -> list[TeacherResult]:
    """Returns the entries [T] of teachers before their training."""
    return [
        TeacherResult(
            teacher_id=int(number),
            drone=file.path.name,
            thrust_to_weight=float(thrust_to_weight(file.drone.dynamics)),
            torque_to_inertia=float(torque_to_inertia(file.drone.dynamics)),
            mass=float(file.drone.dynamics.mass),
            best_eval_reward=None,
            **BEFORE_FINAL,
        )
        for number, file in zip(ids, files, strict=True)
    ]
