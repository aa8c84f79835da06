"""The simulator against recorded answers of l2f 2.0.18: needs neither the package nor other files."""

import jax
import numpy as np
import pytest

from tests.simulator import golden
from validation.parity import flights as flying
from validation.parity import transitions
from validation.parity.comparison import FLIGHT_BOUND, OBSERVATION_BOUND, REWARD_BOUND, STATE_BOUND
from validation.parity.flights import Flights
from validation.parity.transitions import MOTION, Outcome, differences


@pytest.fixture(scope="module")
def recorded_transitions() -> golden.GoldenTransitions:
    return golden.load_transitions()


@pytest.fixture(scope="module")
def recorded_flights() -> golden.GoldenFlights:
    return golden.load_flights()


def assert_same_outcome(outcome: Outcome, expected: Outcome, reward_bound: float = REWARD_BOUND) -> None:
    carried = ("force", "torque", "last_action", "observed_action")
    for group, difference in differences(outcome.next_state, expected.next_state, MOTION + carried).items():
        assert difference.max() <= STATE_BOUND, group
    for group, difference in transitions.observation_differences(outcome.observation, expected.observation).items():
        assert difference.max() <= OBSERVATION_BOUND, group
    assert transitions.reward_difference(outcome.reward, expected.reward).max() <= reward_bound
    np.testing.assert_array_equal(outcome.terminated, expected.terminated)


def within_rounding(flights: Flights, flown: tuple, kept: tuple, every: int) -> bool:
    spread = flying.rounding_spread(flights, flying.fly_numpy(flights))
    apart = differences(jax.tree.map(lambda leaf: leaf[every - 1 :: every], flown), kept)
    return all(
        np.all(flying.in_spreads(apart[group], spread[group][every - 1 :: every]) <= FLIGHT_BOUND) for group in MOTION
    )


def test_transitions(recorded_transitions):
    starts, expected = recorded_transitions
    assert_same_outcome(transitions.ours(starts, expected.next_state), expected)


def test_cases_reach_every_branch(recorded_transitions):
    starts, expected = recorded_transitions
    reward = starts.stacked().mdp.reward
    alive = ~expected.terminated
    rising = starts.action > 2 * starts.state.rotor_state - 1
    for branch in (
        expected.terminated, alive, rising, starts.state.target.moving, np.abs(starts.action) > 1,
        alive & reward.non_negative & (expected.reward == 0),
        alive & (reward.position_clip > 0) & (np.linalg.norm(starts.state.position, axis=1) > reward.position_clip),
    ):  # fmt: skip
        assert 0.01 < np.mean(branch) < 0.99


def test_transitions_of_the_reference(recorded_transitions):
    starts, expected = recorded_transitions
    # In float32 the arc cosine of 1 - |q_z| loses half of its digits near hover, in l2f as in ours.
    assert_same_outcome(transitions.numpy_reference(starts, expected.next_state), expected, reward_bound=1e-4)


def test_flights(recorded_flights):
    flights, kept = recorded_flights
    assert within_rounding(flights, flying.fly_ours(flights), kept, golden.KEPT_EVERY)


def test_flight_bound_detects_a_mass_error_of_1e_5(recorded_flights):
    flights, kept = recorded_flights
    heavier = [d.replace(dynamics=d.dynamics.replace(mass=d.dynamics.mass * (1 + 1e-5))) for d in flights.drones]
    flown = flying.fly_ours(flights._replace(drones=heavier))
    assert not within_rounding(flights, flown, kept, golden.KEPT_EVERY)


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
