"""Rows of the table of parity, their bounds, and the comparison with the float64 reference."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from raptor_jax.drones.parameters import Drone
from validation.drones import crooked
from validation.parity import flights, transitions

STATE_BOUND = 5e-6
OBSERVATION_BOUND = 2e-7
REWARD_BOUND = 1e-5
FLIGHT_BOUND = 5.0
"""In units of `flights.rounding_spread`."""

STEPS = 500
"""Steps of a flight, an episode's."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison; `worst` may be at most `bound`, or at least, where `at_least` says so."""

    what: str
    cases: str
    measure: str
    worst: float
    bound: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the bound is kept; false for NaN."""
        return bool(self.worst >= self.bound if self.at_least else self.worst <= self.bound)


def float64(drones: Sequence[Drone], per_drone: int = 10, seed: int = 2) -> list[Row]:
    """Compares the simulator in float64 with the NumPy reference: formulas, not rounding."""
    random = np.random.default_rng(seed)
    every = [*drones, *(crooked(drone, random) for drone in drones)]
    starts = transitions.draw_transitions(every, per_drone, seed)
    open_loop = flights.draw_flights(drones, STEPS, seed)
    next_state = transitions.numpy_reference(starts, starts.state).next_state
    reference = transitions.numpy_reference(starts, next_state)
    with transitions.double_precision():
        ours, flown = transitions.ours(starts, next_state), flights.fly_ours(open_loop)
    moved = transitions.differences(ours.next_state, reference.next_state)
    seen = np.abs(ours.observation - reference.observation)
    rewards = transitions.reward_difference(ours.reward, reference.reward)
    disagreements = np.sum(ours.terminated != reference.terminated)
    apart = transitions.differences(flown, flights.fly_numpy(open_loop))
    cases = f"{len(starts.action)} states, {len(every)} drones"
    return [
        Row("float64 step", cases, "relative", worst_of(moved), 1e-14),
        Row("float64 observation", cases, "absolute", seen.max(), 1e-14),
        Row("float64 reward", cases, "relative", rewards.max(), 1e-12),
        Row("float64 termination", cases, "disagreements", float(disagreements), 0.0),
        Row("float64 flight", f"{len(drones)} flights of {STEPS} steps", "relative", worst_of(apart), 1e-11),
    ]


def worst_of(differences: dict[str, np.ndarray]) -> float:
    """Returns the largest difference of any group."""
    return float(max(value.max() for value in differences.values()))
