"""The simulator against recorded answers of l2f 2.0.18: needs neither the package nor other files."""

import jax
import numpy as np
import pytest

from tests.simulator import golden
from validation.drones import replaced
from validation.parity import comparison, transitions
from validation.parity.comparison import broken
from validation.parity.flights import fly_ours


def test_transitions():
    starts, expected = golden.load_transitions()
    assert broken(comparison.one_step(transitions.ours(starts, expected.next_state), expected)) == []


def test_cases_reach_every_branch():
    starts, expected = golden.load_transitions()
    reward = starts.stacked().mdp.reward
    alive = ~expected.terminated
    rising = starts.action > 2 * starts.state.rotor_state - 1
    for branch in (
        expected.terminated, alive, rising, starts.state.target.moving, np.abs(starts.action) > 1,
        alive & reward.non_negative & (expected.reward == 0),
        alive & (reward.position_clip > 0) & (np.linalg.norm(starts.state.position, axis=1) > reward.position_clip),
    ):  # fmt: skip
        assert 0.01 < np.mean(branch) < 0.99


def test_transitions_of_the_reference():
    starts, expected = golden.load_transitions()
    reference = transitions.numpy_reference(starts, expected.next_state)
    # In float32 the arc cosine of 1 - |q_z| loses half of its digits near hover, in l2f as in ours.
    assert broken(comparison.one_step(reference, expected, reward_bound=1e-4)) == []


def test_flights():
    flights, kept = golden.load_flights()
    assert broken(comparison.trajectories(flights, fly_ours(flights), kept, golden.KEPT_EVERY)) == []


def test_flight_bound_detects_a_mass_error_of_1e_5():
    flights, kept = golden.load_flights()
    heavier = [replaced(drone, dynamics__mass=drone.dynamics.mass * (1 + 1e-5)) for drone in flights.drones]
    flown = fly_ours(flights._replace(drones=heavier))
    assert broken(comparison.trajectories(flights, flown, kept, golden.KEPT_EVERY))


@pytest.mark.l2f
@pytest.mark.parametrize("load", [golden.load_transitions, golden.load_flights])
def test_l2f_still_answers_the_same(load):
    pytest.importorskip("l2f")
    from tests.simulator.make_golden import answered

    recorded = load()
    # Another compiler may fuse multiplications and additions differently; the cases amplify that little or not at all.
    tolerance = 1e-6 if load is golden.load_transitions else 1e-3
    jax.tree.map(
        lambda now, then: np.testing.assert_allclose(now, then, rtol=tolerance, atol=tolerance),
        answered(recorded), recorded,
    )  # fmt: skip
