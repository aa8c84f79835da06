"""The simulator against the installed l2f, against recorded answers of l2f 2.0.18, and against the NumPy reference."""

import jax
import numpy as np
import pytest

from raptor_jax.drones.parameters import Drone
from raptor_jax.simulator import Target
from raptor_jax.simulator.target import advance
from tests.simulator import golden
from validation.drones import REFERENCE, on_device, reference_drones, replaced, sampled_drones
from validation.parity import comparison, reference_numpy, transitions
from validation.parity.comparison import broken
from validation.parity.flights import fly_ours


@pytest.fixture(scope="module")
def l2f():
    """The comparisons with the package."""
    pytest.importorskip("l2f")
    from validation.parity import l2f_package

    return l2f_package


@pytest.fixture(scope="module")
def drones() -> list[Drone]:
    return (reference_drones() if REFERENCE.is_dir() else []) + sampled_drones(32)


@pytest.mark.l2f
def test_one_step_reward_termination_and_observation_are_those_of_l2f(l2f, drones):
    assert broken(l2f.one_step(drones)) == []
    assert broken(l2f.one_step(sampled_drones(64)[32:], per_drone=5, seed=1)) == []


@pytest.mark.l2f
def test_trajectories_are_those_of_l2f(l2f, drones):
    assert broken(l2f.trajectories(drones[::3])) == []


@pytest.mark.l2f
@pytest.mark.parametrize("law", ["initial_states", "noise"])
def test_random_draws_have_the_laws_of_l2f(l2f, drones, law):
    assert broken(getattr(l2f, law)(drones[0])) == []


def test_transitions_are_the_recorded_ones():
    starts, expected = golden.load_transitions()
    assert broken(comparison.one_step(transitions.ours(starts, expected.next_state), expected)) == []


def test_recorded_transitions_reach_every_branch():
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


def test_the_reference_has_the_recorded_transitions():
    starts, expected = golden.load_transitions()
    reference = transitions.numpy_reference(starts, expected.next_state)
    # In float32 the arc cosine of 1 - |q_z| loses half of its digits near hover, in l2f as in ours.
    assert broken(comparison.one_step(reference, expected, reward_bound=1e-4)) == []


def test_flights_are_the_recorded_ones():
    flights, kept = golden.load_flights()
    assert broken(comparison.trajectories(flights, fly_ours(flights), kept, golden.KEPT_EVERY)) == []


def test_the_bound_of_flights_detects_a_mass_error_of_1e_5():
    flights, kept = golden.load_flights()
    heavier = [replaced(drone, dynamics__mass=drone.dynamics.mass * (1 + 1e-5)) for drone in flights.drones]
    flown = fly_ours(flights._replace(drones=heavier))
    assert broken(comparison.trajectories(flights, flown, kept, golden.KEPT_EVERY))


@pytest.mark.l2f
@pytest.mark.parametrize(
    # Another compiler may fuse multiplications and additions differently; transitions hardly amplify that.
    ("load", "tolerance"), [(golden.load_transitions, 1e-6), (golden.load_flights, 1e-3)],
)  # fmt: skip
def test_l2f_still_answers_the_same(l2f, load, tolerance):
    from tests.simulator.make_golden import answered

    recorded = load()
    jax.tree.map(
        lambda now, then: np.testing.assert_allclose(now, then, rtol=tolerance, atol=tolerance),
        answered(recorded), recorded,
    )  # fmt: skip


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda: sampled_drones(8), id="sampled"),
        pytest.param(reference_drones, id="reference", marks=pytest.mark.reference),
    ],
)
def test_step_observation_reward_and_flight_in_float64_are_those_of_the_reference(draw):
    assert broken(comparison.float64(draw())) == []


def test_a_target_with_the_same_draws_moves_as_in_the_reference():
    random = np.random.default_rng(0)
    trajectory = sampled_drones(1)[0].trajectory
    dt = np.array(0.01)
    draws = random.normal(0, 1, (300, 3))
    expected = Target(np.array(True), *random.normal(0, 0.3, (4, 3)))
    with transitions.double_precision():
        move, target = jax.jit(advance), on_device(expected)
        for draw in draws:
            expected = reference_numpy.advance_target(trajectory.langevin, expected, dt, draw)
            target = move(*on_device((trajectory, target, dt, draw)))
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), target, expected)
