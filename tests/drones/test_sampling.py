import os
from pathlib import Path

import jax
import numpy as np
import pytest

from raptor_jax.config import SamplingConfig
from raptor_jax.drones import parameters
from raptor_jax.drones.files import load_directory
from raptor_jax.drones.sampling import sample_drone, write_drones
from tests.drones.test_files import error_of


def test_every_step_by_hand():
    """Eight Crazyflie masses: twice the size, 2.4013 N of weight, 1.2006 N from each rotor at full throttle."""
    fixed = {"thrust_to_weight": 2, "torque_to_inertia": 500, "mass": 8 * 0.0306, "rotor_torque_constant": 0.01}
    ranges = {f"{name}_{end}": value for name, value in fixed.items() for end in ("min", "max")}
    config = SamplingConfig(**ranges, mass_size_deviation=0, disturbance_force_max=0, task="raptor")
    drone, metadata = sample_drone(config, 0)
    dynamics = drone.dynamics
    weight = 8 * 0.0306 * 9.81
    np.testing.assert_allclose(dynamics.mass, 8 * 0.0306)
    np.testing.assert_allclose(dynamics.rotor_thrust_coefficients.sum(axis=1), 2 * weight / 4)
    np.testing.assert_allclose(dynamics.rotor_positions[0], [0.056, -0.056, 0])
    np.testing.assert_allclose(dynamics.J[0, 0], np.sqrt(2) * 0.056 * weight / 2 / 500)
    np.testing.assert_allclose(dynamics.J[2, 2] / dynamics.J[0, 0], 1.7459517322532851e-05 / 9.4165567291304065e-06)
    np.testing.assert_allclose(dynamics.J @ dynamics.J_inv, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(dynamics.rotor_torque_constants, 0.01)
    limits = (drone.mdp.init.max_position, drone.mdp.termination.position_threshold)
    np.testing.assert_allclose(limits, np.sqrt(2) * 0.056 * np.array([10, 20]))
    assert drone.disturbances.random_force.std == 0
    thrust = parameters.rotor_thrust(dynamics, dynamics.hovering_throttle_relative)
    np.testing.assert_allclose(4 * thrust[0], weight)
    assert (metadata["seed"], metadata["index"], metadata["mass"]) == (0, 0, dynamics.mass)


def test_arms_have_the_deviation_of_the_metadata():
    for index in range(20):
        drone, metadata = sample_drone(SamplingConfig(seed=3), index)
        x = metadata["arm_size_deviation"]
        factor = 1 + x if x >= 0 else 1 / (1 - x)
        arm = 0.028 * np.cbrt(drone.dynamics.mass / 0.0306) * factor
        np.testing.assert_allclose(np.abs(drone.dynamics.rotor_positions[:, :2]), arm)


def test_files_hold_the_drones_of_a_seed_with_their_task(tmp_path):
    config = SamplingConfig(seed=1, task="raptor")
    assert write_drones(tmp_path / "new" / "drones", config, 2)
    files = load_directory(tmp_path / "new" / "drones")
    assert [file.name for file in files] == ["0000", "0001"]
    for index, file in enumerate(files):
        jax.tree.map(np.testing.assert_array_equal, (file.drone, file.metadata), sample_drone(config, index))
        assert file.drone.mdp.reward.constant == 1.5


def test_another_seed_or_index_is_another_drone():
    drawn = [sample_drone(SamplingConfig(seed=seed), index)[0] for seed in (1, 2) for index in (0, 1)]
    assert len({float(drone.dynamics.mass) for drone in drawn}) == len(drawn)


def test_the_task_does_not_change_the_drone():
    default = sample_drone(SamplingConfig(), 5)[0]
    raptor = sample_drone(SamplingConfig(task="raptor"), 5)[0]
    jax.tree.map(np.testing.assert_array_equal, default.dynamics, raptor.dynamics)


def bytes_of(directory):
    """Returns the content of every file, by name."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_existing_drones_are_kept(tmp_path):
    config = SamplingConfig()
    assert write_drones(tmp_path, config, 3)
    stamps = [path.stat().st_mtime_ns for path in sorted(tmp_path.iterdir())]
    assert not write_drones(tmp_path, config, 3)
    assert not write_drones(tmp_path, config, 2)
    assert stamps == [path.stat().st_mtime_ns for path in sorted(tmp_path.iterdir())]


def test_an_interrupted_sampling_is_completed(tmp_path):
    write_drones(tmp_path, SamplingConfig(), 4)
    whole = bytes_of(tmp_path)
    (tmp_path / "0001.json").unlink()
    (tmp_path / "0003.json").unlink()
    assert write_drones(tmp_path, SamplingConfig(), 4)
    assert bytes_of(tmp_path) == whole


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_is_not_a_file_is_not_a_drone(tmp_path, make):
    make(tmp_path / "0000.json")
    assert "0000.json: is not a drone of this seed" in error_of(write_drones, tmp_path, SamplingConfig(), 2)


@pytest.mark.parametrize("num", [1, 3, 4])
def test_other_drones_are_never_overwritten(tmp_path, num):
    write_drones(tmp_path, SamplingConfig(), 3)
    before = bytes_of(tmp_path)
    message = error_of(write_drones, tmp_path, SamplingConfig(seed=1), num)
    assert message.startswith(str(tmp_path / "0000.json"))
    assert "choose an empty directory" in message
    assert bytes_of(tmp_path) == before


def test_unwritable_or_impossible_drones_are_user_errors(tmp_path):
    (tmp_path / "file").touch()
    assert "cannot be written" in error_of(write_drones, tmp_path / "file", SamplingConfig(), 1)
    message = error_of(sample_drone, SamplingConfig(thrust_to_weight_min=40, thrust_to_weight_max=50), 0)
    assert message.startswith("sampling.thrust_to_weight_max: 50.0: ")
    assert "exceeds its weight; lower it" in message
