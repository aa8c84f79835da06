"""The simulator against the installed `l2f`, on reference drones, sampled drones and asymmetric copies of both."""

import pytest

from raptor_jax.drones.parameters import Drone
from validation.drones import REFERENCE, reference_drones, sampled_drones
from validation.parity.comparison import broken

pytest.importorskip("l2f")
from validation.parity import l2f_package as parity

pytestmark = pytest.mark.l2f


@pytest.fixture(scope="module")
def drones() -> list[Drone]:
    return (reference_drones() if REFERENCE.is_dir() else []) + sampled_drones(32)


def test_one_step_reward_termination_and_observation(drones):
    assert broken(parity.one_step(drones)) == []


def test_one_step_of_more_sampled_drones():
    assert broken(parity.one_step(sampled_drones(64)[32:], per_drone=5, seed=1)) == []


def test_trajectories(drones):
    assert broken(parity.trajectories(drones[::3])) == []


@pytest.mark.parametrize("law", [parity.initial_states, parity.noise])
def test_laws_of_random_draws(drones, law):
    assert broken(law(drones[0])) == []
