"""Golden files: cases with l2f's answers, complete in themselves, so that parity is tested without the package.

`transitions.npz` holds starts and outcomes, `flights.npz` actions and every 25th state; leaves are named by their path.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from raptor_jax.drones.parameters import Drone, stack
from raptor_jax.simulator import State
from validation.drones import sampled_drones, take
from validation.parity.flights import Flights, draw_flights
from validation.parity.transitions import Outcome, Transitions, draw_transitions

FOLDER = Path(__file__).parent / "golden"
KEPT_EVERY = 25
"""Steps between the states of a flight that are kept."""


class GoldenTransitions(NamedTuple):
    """Transitions, and their outcomes in l2f."""

    starts: Transitions
    outcome: Outcome


class GoldenFlights(NamedTuple):
    """Flights and every 25th state of them in l2f, [T / 25, B]."""

    flights: Flights
    states: State


def save(name: str, golden: GoldenTransitions | GoldenFlights) -> None:
    """Writes a golden file; a list of drones is stacked. Every float is one that float32 holds exactly."""
    leaves = jax.tree_util.tree_flatten_with_path(_with_drones(golden, stack(golden[0].drones)))[0]
    arrays = {jax.tree_util.keystr(path): _converted(leaf, np.float64, np.float32) for path, leaf in leaves}
    np.savez_compressed(FOLDER / name, **arrays)


def load_transitions() -> GoldenTransitions:
    """Returns the golden transitions."""
    starts = draw_transitions(sampled_drones(1), 1, 0)
    return _load("transitions.npz", GoldenTransitions(starts, Outcome(starts.state, 0.0, False, 0.0)))


def load_flights() -> GoldenFlights:
    """Returns the golden flights."""
    flights = draw_flights(sampled_drones(1), 1, 0)
    return _load("flights.npz", GoldenFlights(flights, flights.start))


def _load(name: str, template: Any) -> Any:
    """Returns the file's arrays in the structure of the template; floats become float64."""
    with np.load(FOLDER / name) as file:
        arrays = {key: _converted(array, np.float32, np.float64) for key, array in file.items()}
    stacked = _with_drones(template, stack(template[0].drones))
    golden = jax.tree_util.tree_map_with_path(lambda path, _: arrays[jax.tree_util.keystr(path)], stacked)
    drones = golden[0].drones
    return _with_drones(golden, [take(drones, i) for i in range(len(drones.dynamics.mass))])


def _with_drones(golden: Any, drones: Drone | list[Drone]) -> Any:
    return golden._replace(**{golden._fields[0]: golden[0]._replace(drones=drones)})


def _converted(leaf: Any, old: type, new: type) -> np.ndarray:
    return np.asarray(leaf, new if np.asarray(leaf).dtype == old else None)
