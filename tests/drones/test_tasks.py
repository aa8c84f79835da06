import functools
import math

import jax
import numpy as np
import pytest

from raptor_jax.config import EnvironmentConfig, SamplingConfig
from raptor_jax.drones.files import load_directory
from raptor_jax.drones.parameters import hovering_throttle, max_rotor_distance
from raptor_jax.drones.sampling import sample_drone
from raptor_jax.drones.tasks import for_training, task, with_task
from tests.drones.test_files import error_of
from validation.drones import REFERENCE, replaced


@pytest.fixture
def drone():
    return sample_drone(SamplingConfig(), 0)[0]


@pytest.mark.reference
def test_raptors_task_is_that_of_the_reference_files():
    for drone in (file.drone for file in load_directory(REFERENCE / "dynamics")):
        equal = functools.partial(np.testing.assert_allclose, rtol=1e-12)
        jax.tree.map(equal, task("raptor", drone.dynamics), (drone.mdp, drone.trajectory))


def test_the_default_task_is_that_of_the_table(drone):
    mdp, _ = task("default", drone.dynamics)
    init, reward = mdp.init, mdp.reward
    assert (init.max_position, init.max_linear_velocity, init.max_angular_velocity) == (0.5, 1, 1)
    assert init.max_angle == math.pi / 2
    assert (reward.scale, reward.constant, reward.termination_penalty) == (0.1, 1, -100)
    assert (reward.position, reward.orientation, reward.linear_velocity) == (10, 2.5, 0.05)
    assert (reward.action, reward.d_action) == (0.1, 1)
    assert (mdp.termination.linear_velocity_threshold, mdp.termination.angular_velocity_threshold) == (10, 35)


@pytest.mark.parametrize(("arm", "threshold"), [(0.03, 8.0), (0.5, 10.0)])
def test_the_default_threshold_leaves_room_to_recover(drone, arm, threshold):
    positions = arm * drone.dynamics.rotor_positions / max_rotor_distance(drone.dynamics)
    mdp, _ = task("default", drone.dynamics.replace(rotor_positions=positions))
    np.testing.assert_allclose(mdp.termination.position_threshold, threshold)


@pytest.mark.parametrize("name", ["default", "raptor"])
def test_a_task_changes_only_the_hovering_throttle(drone, name):
    given = with_task(replaced(drone, dynamics__hovering_throttle_relative=0.726), name)
    np.testing.assert_allclose(given.dynamics.hovering_throttle_relative, hovering_throttle(drone.dynamics))
    mdp, trajectory = task(name, drone.dynamics)
    jax.tree.map(np.testing.assert_array_equal, given, drone.replace(mdp=mdp, trajectory=trajectory))


def test_the_configuration_decides_the_task(drone):
    assert for_training(drone, EnvironmentConfig(), "0.json") is drone
    assert for_training(drone, EnvironmentConfig(task="raptor"), "0.json").mdp.reward.constant == 1.5


@pytest.mark.parametrize(("own", "used"), [(math.pi / 2, 1.0), (0.0, 0.0)])
def test_l2fs_initial_angle_keeps_zero(drone, own, used):
    drone = replaced(drone, mdp__init__max_angle=own)
    assert for_training(drone, EnvironmentConfig(l2f_initial_angle=True), "0.json").mdp.init.max_angle == used


def test_another_integration_step_is_an_error(drone):
    message = error_of(for_training, drone, EnvironmentConfig(dt=0.02), "drones/7.json")
    assert message.startswith("drones/7.json: integration.dt: 0.01 s ")
    assert "environment.dt 0.02 s; " in message
