"""Writes the golden files from l2f: `python -m tests.simulator.make_golden` in the repository's root."""

import jax
import numpy as np

from tests.simulator import golden
from tests.simulator.golden import GoldenFlights, GoldenTransitions
from validation.drones import crooked, sampled_drones
from validation.parity import l2f_package as parity
from validation.parity.flights import draw_flights
from validation.parity.transitions import draw_transitions


def main() -> None:
    """Draws new cases and writes both files."""
    random = np.random.default_rng(0)
    drones = sampled_drones(6) + sampled_drones(6, "raptor")
    starts = draw_transitions([*drones, *(crooked(drone, random) for drone in drones)], 14, 0)
    flights = draw_flights(drones[4:8], 500, 0)
    golden.save("transitions.npz", answered(GoldenTransitions(starts, None)))
    golden.save("flights.npz", answered(GoldenFlights(flights, None)))


def answered(cases: GoldenTransitions | GoldenFlights) -> GoldenTransitions | GoldenFlights:
    """Returns the cases with the installed l2f's answers instead of the recorded ones."""
    if isinstance(cases, GoldenTransitions):
        return cases._replace(outcome=parity.l2f_outcome(cases.starts))
    states = parity.fly_l2f(cases.flights)
    kept = jax.tree.map(lambda leaf: leaf[golden.KEPT_EVERY - 1 :: golden.KEPT_EVERY], states)
    return cases._replace(states=kept)


if __name__ == "__main__":
    main()
