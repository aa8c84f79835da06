"""Noise on actions and observations: the configured deviation in the right entries, and none if it is zero."""

import jax
import numpy as np
import pytest
from scipy import stats

from raptor_jax import simulator
from raptor_jax.drones.parameters import stack, without_idle_noise
from raptor_jax.simulator.action import from_rotor_state
from tests.simulator.test_reset import LEAST_P_VALUE, assert_independent, assert_law
from validation.drones import on_device, replaced, rounded, sampled_drones
from validation.parity.transitions import OBSERVATION_GROUPS, Transitions, draw_transitions, ours

COUNT = 20_000
DEVIATIONS = {"position": 0.1, "orientation": 0.2, "linear_velocity": 0.3, "angular_velocity": 0.4}


@pytest.fixture(scope="module")
def starts() -> Transitions:
    return draw_transitions(sampled_drones(1), 1, 0).repeated(COUNT)


@pytest.fixture(scope="module")
def observed(starts) -> np.ndarray:
    """Returns the noise that was added to observations, [B, 26]."""
    noise = {f"mdp__observation_noise__{group}": deviation for group, deviation in DEVIATIONS.items()}
    noisy = starts._replace(drones=[replaced(starts.drones[0], **noise)])
    return ours(noisy, starts.state).observation - ours(starts, starts.state).observation


@pytest.mark.parametrize("group", DEVIATIONS)
def test_observation_noise_is_normal_with_the_deviation_of_its_group(observed, group):
    assert_law(observed[:, OBSERVATION_GROUPS[group]], stats.norm(0, DEVIATIONS[group]))


def test_observation_noise_is_independent_between_entries(observed):
    assert_independent(observed[:, :18])


def test_previous_action_and_rotor_state_are_observed_without_noise(observed):
    assert not observed[:, 18:].any()


def test_action_noise_reaches_the_rotors_clipped_and_is_not_recorded(starts):
    drone = replaced(starts.drones[0], mdp__action_noise__normalized_rpm=0.2)
    action = rounded(np.array([-0.5, 0.0, 0.3, 0.95]))
    state = starts.state.replace(rotor_state=np.full((COUNT, 4), 0.25))
    noisy = Transitions([drone], starts.index, state, np.tile(action, (COUNT, 1)))
    after = ours(noisy, noisy.state).next_state
    np.testing.assert_array_equal(after.last_action, noisy.action.astype(np.float32))
    np.testing.assert_array_equal(after.observed_action, noisy.action.astype(np.float32))
    applied = _applied(drone, after.rotor_state.astype(np.float64))
    for i, column in enumerate(applied.T):
        inside = np.abs(column) < 1 - 1e-4
        law = stats.truncnorm((-1 - action[i]) / 0.2, (1 - action[i]) / 0.2, action[i], 0.2)
        assert stats.kstest(column[inside], law.cdf).pvalue > LEAST_P_VALUE
        clipped = stats.norm.sf((1 - action[i]) / 0.2) + stats.norm.cdf((-1 - action[i]) / 0.2)
        assert stats.binomtest(int((~inside).sum()), COUNT, clipped).pvalue > LEAST_P_VALUE
        assert np.abs(column).max() < 1 + 1e-4


def _applied(drone, rotor_state: np.ndarray) -> np.ndarray:
    """Returns the actions in [-1, 1] that brought rotors from 0.25 to these states in one Runge-Kutta step."""
    dynamics = drone.dynamics
    rising = rotor_state >= 0.25
    time_constant = np.where(rising, dynamics.rotor_time_constants_rising, dynamics.rotor_time_constants_falling)
    z = drone.integration.dt / time_constant
    kept = 1 - z + z**2 / 2 - z**3 / 6 + z**4 / 24
    return from_rotor_state(dynamics.action_limit, (rotor_state - 0.25 * kept) / (1 - kept))


def test_without_noise_the_key_changes_nothing(starts):
    still = starts._replace(state=starts.state.replace(target=jax.tree.map(np.zeros_like, starts.state.target)))
    for value in jax.tree.leaves(ours(still, still.state)):
        np.testing.assert_array_equal(value, np.broadcast_to(value[:1], value.shape))


def test_the_draws_of_a_drone_do_not_depend_on_the_noise_of_other_drones():
    """Kinds of noise that no drone of a population has are left out of its tree, and the others stay as they are."""
    moving = replaced(sampled_drones(1)[0], trajectory__mixture=np.array([0.0, 1.0]))
    noisy = replaced(moving, mdp__action_noise__normalized_rpm=0.1, mdp__observation_noise__position=0.1)
    alone, among = (on_device(without_idle_noise(stack([drone]))) for drone in (moving, noisy))
    assert alone.mdp.action_noise is None and alone.mdp.observation_noise is None
    assert among.mdp.action_noise is not None and among.mdp.observation_noise is not None
    key = jax.random.key(0)
    few, all_kinds = simulator.draw_noise(alone, key, 5), simulator.draw_noise(among, key, 5)
    assert few.action is None and few.observation is None
    np.testing.assert_array_equal(few.target, all_kinds.target)
    assert len({float(np.ravel(draws)[0]) for draws in jax.tree.leaves(all_kinds)}) == 3
    assert simulator.draw_noise(on_device(without_idle_noise(stack(sampled_drones(2)))), key) == simulator.Noise()
