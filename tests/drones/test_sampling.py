import os
from pathlib import Path

import jax
import numpy as np
import pytest

from raptor_jax.config import SamplingConfig
from raptor_jax.drones import parameters
from raptor_jax.drones.files import load_directory
from raptor_jax.drones.sampling import sample_drone, write_drones
from raptor_jax.errors import UserError

FIXED = SamplingConfig(
    thrust_to_weight_min=2,
    thrust_to_weight_max=2,
    torque_to_inertia_min=500,
    torque_to_inertia_max=500,
    mass_min=8 * 0.0306,
    mass_max=8 * 0.0306,
    mass_size_deviation=0,
    rotor_torque_constant_min=0.01,
    rotor_torque_constant_max=0.01,
    disturbance_force_max=0,
    task="raptor",
)


def test_every_step_by_hand():
    """Eight Crazyflie masses: twice the size, 2.4013 N of weight, 1.2006 N from each rotor at full throttle."""
    drone, metadata = sample_drone(FIXED, 0)
    dynamics = drone.dynamics
    weight = 8 * 0.0306 * 9.81
    np.testing.assert_allclose(dynamics.mass, 8 * 0.0306)
    np.testing.assert_allclose(dynamics.rotor_thrust_coefficients.sum(axis=1), 2 * weight / 4)
    np.testing.assert_allclose(dynamics.rotor_positions[0], [0.056, -0.056, 0])
    np.testing.assert_allclose(dynamics.J[0, 0], np.sqrt(2) * 0.056 * weight / 2 / 500)
    np.testing.assert_allclose(dynamics.J[2, 2] / dynamics.J[0, 0], 1.7459517322532851e-05 / 9.4165567291304065e-06)
    np.testing.assert_allclose(dynamics.J @ dynamics.J_inv, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(dynamics.rotor_torque_constants, 0.01)
    distance = np.sqrt(2) * 0.056
    np.testing.assert_allclose(drone.mdp.init.max_position, 10 * distance)
    np.testing.assert_allclose(drone.mdp.termination.position_threshold, 20 * distance)
    assert drone.disturbances.random_force.std == 0
    throttle = dynamics.hovering_throttle_relative
    np.testing.assert_allclose(4 * parameters.rotor_thrust(dynamics, throttle)[0], weight)
    assert metadata["mass"] == dynamics.mass
    assert (metadata["seed"], metadata["index"]) == (0, 0)


def test_metadata_holds_what_the_dynamics_have():
    for index in range(20):
        drone, metadata = sample_drone(SamplingConfig(seed=3), index)
        dynamics = drone.dynamics
        np.testing.assert_allclose(parameters.thrust_to_weight(dynamics), metadata["thrust_to_weight"], rtol=1e-12)
        np.testing.assert_allclose(parameters.torque_to_inertia(dynamics), metadata["torque_to_inertia"], rtol=1e-12)
        x = metadata["arm_size_deviation"]
        factor = 1 + x if x >= 0 else 1 / (1 - x)
        arm = 0.028 * np.cbrt(dynamics.mass / 0.0306) * factor
        np.testing.assert_allclose(np.abs(dynamics.rotor_positions[:, :2]), arm)
        surplus = metadata["thrust_to_weight"] - 1
        most = 0.3 * surplus * metadata["thrust_to_weight"] * dynamics.mass / 3
        assert 0 < drone.disturbances.random_force.std < most


def test_a_drone_depends_on_seed_and_index_alone(tmp_path):
    config = SamplingConfig(seed=1)
    write_drones(tmp_path / "3", config, 3)
    write_drones(tmp_path / "5", config, 5)
    for index in range(3):
        name = f"{index:04d}.json"
        assert (tmp_path / "3" / name).read_bytes() == (tmp_path / "5" / name).read_bytes()
    assert sample_drone(config, 0)[1] != sample_drone(config, 1)[1]
    assert sample_drone(config, 0)[1] != sample_drone(SamplingConfig(seed=2), 0)[1]


def test_the_files_hold_the_drones_and_their_task(tmp_path):
    assert write_drones(tmp_path / "new" / "drones", FIXED, 2)
    files = load_directory(tmp_path / "new" / "drones")
    assert [file.name for file in files] == ["0000", "0001"]
    for index, file in enumerate(files):
        jax.tree.map(np.testing.assert_array_equal, file.drone, sample_drone(FIXED, index)[0])
        assert file.drone.mdp.reward.constant == 1.5


def test_the_task_does_not_change_the_drone():
    default = sample_drone(SamplingConfig(), 5)[0]
    raptor = sample_drone(SamplingConfig(task="raptor"), 5)[0]
    jax.tree.map(np.testing.assert_array_equal, default.dynamics, raptor.dynamics)


def test_existing_drones_are_kept(tmp_path):
    config = SamplingConfig()
    assert write_drones(tmp_path, config, 3)
    stamps = [path.stat().st_mtime_ns for path in sorted(tmp_path.iterdir())]
    assert not write_drones(tmp_path, config, 3)
    assert not write_drones(tmp_path, config, 2)
    assert stamps == [path.stat().st_mtime_ns for path in sorted(tmp_path.iterdir())]


def test_an_interrupted_sampling_is_completed(tmp_path):
    write_drones(tmp_path / "whole", SamplingConfig(), 4)
    write_drones(tmp_path / "part", SamplingConfig(), 4)
    (tmp_path / "part" / "0001.json").unlink()
    (tmp_path / "part" / "0003.json").unlink()
    assert write_drones(tmp_path / "part", SamplingConfig(), 4)
    whole, part = ({path.name: path.read_bytes() for path in (tmp_path / d).iterdir()} for d in ("whole", "part"))
    assert part == whole


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_is_not_a_file_is_not_a_drone(tmp_path, make):
    make(tmp_path / "0000.json")
    with pytest.raises(UserError, match=r"0000\.json: is not a drone of this seed"):
        write_drones(tmp_path, SamplingConfig(), 2)


@pytest.mark.parametrize("num", [1, 3, 4])
def test_other_drones_are_never_overwritten(tmp_path, num):
    write_drones(tmp_path, SamplingConfig(), 3)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match="choose an empty directory") as caught:
        write_drones(tmp_path, SamplingConfig(seed=1), num)
    assert str(caught.value).startswith(str(tmp_path / "0000.json"))
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_unwritable_or_impossible_drones_are_user_errors(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_drones(tmp_path / "file", SamplingConfig(), 1)
    with pytest.raises(UserError, match=r"^sampling\.thrust_to_weight_max: 50.0: .* exceeds its weight; lower it"):
        sample_drone(SamplingConfig(thrust_to_weight_min=40, thrust_to_weight_max=50), 0)
