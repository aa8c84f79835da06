"""The simulator against the installed `l2f`, on reference drones, sampled drones and asymmetric copies of both."""

import pytest

from raptor_jax.drones.parameters import Drone
from validation.drones import REFERENCE, reference_drones, sampled_drones
from validation.parity.comparison import Row

pytest.importorskip("l2f")
from validation.parity import l2f_package as parity

pytestmark = pytest.mark.l2f


@pytest.fixture(scope="module")
def drones() -> list[Drone]:
    return (reference_drones() if REFERENCE.is_dir() else []) + sampled_drones(32)


def assert_all_hold(rows: list[Row]) -> None:
    assert [row for row in rows if not row.holds] == []


def test_one_step_reward_termination_and_observation(drones):
    assert_all_hold(parity.one_step(drones))


def test_one_step_of_sampled_drones():
    assert_all_hold(parity.one_step(sampled_drones(64), per_drone=5, seed=1))


def test_trajectories(drones):
    assert_all_hold(parity.trajectories(drones[::3]))


def test_laws_of_initial_states(drones):
    assert_all_hold(parity.initial_states(drones[0]))


def test_laws_of_noise(drones):
    assert_all_hold(parity.noise(drones[0]))
