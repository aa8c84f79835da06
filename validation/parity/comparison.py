"""Rows of the table of parity, their bounds, and the comparison with the float64 reference."""

import dataclasses
from collections.abc import Iterable, Sequence

import jax
import numpy as np

from raptor_jax.drones.parameters import Drone
from raptor_jax.simulator import State
from validation.drones import crooked
from validation.parity import flights, transitions
from validation.parity.flights import ROUNDING, Flights
from validation.parity.transitions import Outcome, differences

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


def broken(rows: Iterable[Row]) -> list[Row]:
    """Returns the rows whose bound is not kept."""
    return [row for row in rows if not row.holds]


def one_step(ours: Outcome, theirs: Outcome, cases: str = "", reward_bound: float = REWARD_BOUND) -> list[Row]:
    """Compares two outcomes of the same transitions."""
    moved = differences(ours.next_state, theirs.next_state)
    carried = differences(ours.next_state, theirs.next_state, ("force", "torque", "last_action", "observed_action"))
    seen = transitions.observation_differences(ours.observation, theirs.observation)
    rewards = transitions.reward_difference(ours.reward, theirs.reward)
    disagreements = np.sum(ours.terminated != theirs.terminated)
    share = f"{cases}, {theirs.terminated.mean():.0%} of them ending"
    return [
        *(Row(f"step: {group}", cases, "relative", value.max(), STATE_BOUND) for group, value in moved.items()),
        Row("step: force, torque, last actions", cases, "relative", worst_of(carried), 0.0),
        Row("observation, first 22", cases, "relative", worst_of(seen), OBSERVATION_BOUND),
        Row("reward", cases, "relative", rewards.max(), reward_bound),
        Row("termination", share, "disagreements", float(disagreements), 0.0),
    ]


def trajectories(open_loop: Flights, ours: State, theirs: State, every: int = 1) -> list[Row]:
    """Compares flights in units of what rounding alone can do: `flights.rounding_spread`, and a few roundings of 1.

    Args:
        open_loop: the flights.
        ours: the states [T, B] of all steps.
        theirs: the states [T / every, B] of the last of each `every` steps.
        every: 1 to compare all steps.
    """
    spread = flights.rounding_spread(open_loop, flights.fly_numpy(open_loop))
    ours, spread = jax.tree.map(lambda leaf: leaf[every - 1 :: every], (ours, spread))
    steps, count = open_loop.actions.shape[:2]
    return [
        Row(
            f"flight: {group}",
            f"{count} flights of {steps} steps, at most {distance.max():.1e} apart",
            "difference / spread by rounding",
            (distance / (spread[group] + 4 * ROUNDING)).max(),
            FLIGHT_BOUND,
        )
        for group, distance in differences(ours, theirs).items()
    ]


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
    moved = differences(ours.next_state, reference.next_state)
    seen = np.abs(ours.observation - reference.observation)
    rewards = transitions.reward_difference(ours.reward, reference.reward)
    disagreements = np.sum(ours.terminated != reference.terminated)
    apart = differences(flown, flights.fly_numpy(open_loop))
    cases = f"{len(starts.action)} states, {len(every)} drones"
    return [
        Row("float64 step", cases, "relative", worst_of(moved), 1e-14),
        Row("float64 observation", cases, "absolute", seen.max(), 1e-14),
        Row("float64 reward", cases, "relative", rewards.max(), 1e-12),
        Row("float64 termination", cases, "disagreements", float(disagreements), 0.0),
        Row("float64 flight", f"{len(drones)} flights of {STEPS} steps", "relative", worst_of(apart), 1e-11),
    ]


def worst_of(differences: dict[str, np.ndarray]) -> float:
    """Returns the largest difference of any group, NaN if any is."""
    return float(np.max([value.max() for value in differences.values()]))
