"""Golden files: cases with l2f's answers, complete in themselves, so that parity is tested without the package.

`transitions.npz` holds starts and outcomes, `flights.npz` actions and every 25th state; leaves are named by their path.
"""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from raptor_jax.drones.parameters import Drone, stack
from raptor_jax.simulator import State
from validation.drones import sampled_drones
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
    """Writes a golden file; a list of drones is stacked."""
    leaves = jax.tree_util.tree_flatten_with_path(_stacked(golden))[0]
    arrays = {jax.tree_util.keystr(path): _compact(leaf) for path, leaf in leaves}
    FOLDER.mkdir(exist_ok=True)
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

        def read(path: tuple, leaf: Any) -> np.ndarray:
            array = file[jax.tree_util.keystr(path)]
            return array.astype(np.float64) if array.dtype == np.float32 else array

        golden = jax.tree_util.tree_map_with_path(read, _stacked(template))
    drones: Drone = golden[0].drones
    listed = [jax.tree.map(lambda leaf, i=i: leaf[i], drones) for i in range(len(drones.dynamics.mass))]
    return golden._replace(**{golden._fields[0]: golden[0]._replace(drones=listed)})


def _stacked(golden: Any) -> Any:
    return golden._replace(**{golden._fields[0]: golden[0]._replace(drones=stack(golden[0].drones))})


def _compact(leaf: Any) -> np.ndarray:
    # Every float here is one that float32 holds exactly.
    array = np.asarray(leaf)
    return array.astype(np.float32) if array.dtype == np.float64 else array
