"""The data of the page: the JSON object that its scripts read."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from raptor_jax.drones.quantities import PARAMETERS
from raptor_jax.report.flights import PackedFlight
from raptor_jax.runs import analysis
from raptor_jax.runs.analysis import Population

_COLUMNS = (
    "teacher_id",
    "drone",
    "std_return",
    "passed",
    "episode_length",
    "share_terminated",
    "position_offset",
    "rounds",
    "ceiling",
    "ceiling_return",
    *PARAMETERS,
)
_TITLES = {
    "thrust_to_weight": "thrust-to-weight",
    "torque_to_inertia": "torque-to-inertia",
    "max_rotor_distance": "greatest rotor distance",
    "rotor_time_constant_rising": "rotor time constant, rising",
    "rotor_time_constant_falling": "rotor time constant, falling",
    "rotor_torque_constant": "rotor torque constant",
}


def of(
    population: Population,
    flights: list[PackedFlight | None],
    by_student: Mapping[int, float | None] | None = None,
) -> dict[str, Any]:
    """Returns the data of the page.

    Args:
        population: one run with T teachers.
        flights: [T] packed flights, None for a teacher without one.
        by_student: mean return of a student on the drones of its teachers, by teacher_id; None without one.
    """
    (run,) = population.runs
    teachers = population.teachers
    evaluated = bool(teachers["judged"].all())
    training, environment = run["config"]["training"], run["config"]["environment"]
    columns = {name: values(teachers[name]) for name in _COLUMNS}
    columns["return"] = values(analysis.returns(population))
    columns["ceiling_share"] = values(analysis.ceiling_shares(population))
    columns["student"] = [(by_student or {}).get(number) for number in columns["teacher_id"]]
    if not evaluated:
        columns["passed"] = [None] * len(population)
    return {
        "about": (
            f"{run['status']} after {run['step']:,} environment steps of a teacher; {len(population)} teachers,"
            f" SAC at horizon {run['config']['sac']['horizon']}, seed {training['seed']}; {run['device']},"
            f" jax {run['versions']['jax']}"
        ),
        "run": {name: value for name, value in run.items() if name != "rounds"},
        "pass_return": training["pass_return"],
        "return_name": "mean return" if evaluated else "best evaluation so far",
        "flight_name": f"first of the {training['final_eval_episodes']} episodes of the final evaluation",
        "episode_steps": environment["episode_steps"],
        "dt": environment["dt"],
        "parameters": {
            name: {"title": _TITLES.get(name, name), "unit": parameter.unit} for name, parameter in PARAMETERS.items()
        },
        "teachers": columns,
        "ceiling_episodes": _ceiling_episodes(population),
        "rotors": np.round(population.drones.dynamics.rotor_positions, 4).tolist(),
        "curves": {
            "step": population.evaluation.step.tolist(),
            "reward": [values(row, 1) for row in population.evaluation["reward"]],
            "kept": [values(row, 1) for row in analysis.best_so_far(population)],
        },
        "flights": flights,
    }


def _ceiling_episodes(population: Population) -> str:
    """Returns the number of episodes of the ceilings; an empty text if there are none."""
    episodes = population.teachers["ceiling_episodes"]
    counts = sorted({int(count) for count in episodes[np.isfinite(episodes)]})
    return "" if not counts else f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def values(array: np.ndarray, digits: int = 6) -> list[Any]:
    """Returns an array [N] as JSON values: rounded numbers, None for values that are not finite."""
    if array.dtype.kind != "f":
        return array.tolist()
    return [round(number, digits) if np.isfinite(number) else None for number in array.tolist()]
