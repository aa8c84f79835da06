"""The drones that ship, and how drones are named one by one."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from raptor_jax.drones import parameters, platforms
from raptor_jax.drones.files import find_drone, load_drone, load_named, save_drone, to_json
from raptor_jax.drones.tasks import task
from tests.drones.test_files import error_of
from validation.drones import REFERENCE

NAMES = ["crazyflie", "flightmare", "fs", "race"]


@pytest.mark.reference
def test_the_platforms_are_those_of_rltools_registry():
    assert platforms.names() == NAMES
    for name in NAMES:
        ours = json.loads(platforms.path_of(name).read_text())
        theirs = json.loads((REFERENCE / "registry" / f"{name}.json").read_text())
        # RLtools adds up the Crazyflie's mass, and is a bit of float64 above 0.0306.
        np.testing.assert_allclose(ours["dynamics"].pop("mass"), theirs["dynamics"].pop("mass"), rtol=2e-16)
        assert (ours["dynamics"], ours["integration"]) == (theirs["dynamics"], theirs["integration"])


@pytest.mark.parametrize("name", NAMES)
def test_a_platform_has_the_default_task_and_a_source(name):
    file = load_drone(platforms.path_of(name))
    assert file.name == name
    assert "RLtools" in file.metadata["source"]
    drone, dynamics = file.drone, file.drone.dynamics
    jax.tree.map(np.testing.assert_array_equal, (drone.mdp, drone.trajectory), task("default", dynamics))
    # That of its thrust curve, and not the one of the registry, which belongs to another curve.
    lift = 4 * parameters.rotor_thrust(dynamics, dynamics.hovering_throttle_relative).mean()
    np.testing.assert_allclose(lift, parameters.weight(dynamics), rtol=1e-12)


def test_the_nominal_drone_has_l2fs_hovering_throttle():
    dynamics = platforms.crazyflie()
    assert float(dynamics.mass) == 0.0306
    assert float(dynamics.hovering_throttle_relative) == 0.7261389721508553
    np.testing.assert_array_equal(dynamics.J_inv, np.linalg.inv(dynamics.J))


def test_a_file_precedes_a_platform_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_drone("race") == platforms.path_of("race")
    (tmp_path / "race").mkdir()
    assert find_drone("race") == platforms.path_of("race")
    (tmp_path / "race").rmdir()
    (tmp_path / "race").touch()
    assert find_drone("race") == Path("race")


def test_the_error_of_an_unknown_name_lists_platforms():
    assert "did you mean race? Platforms are crazyflie, flightmare, fs, race" in error_of(find_drone, "rcae")
    assert "a platform: crazyflie, flightmare, fs, race" in error_of(find_drone, "drones/17.json")


def test_named_drones_have_the_order_of_a_run(tmp_path):
    drone = load_drone(platforms.path_of("race")).drone
    for name in ("10", "9"):
        save_drone(tmp_path / f"{name}.json", drone, {})
    named = ["race", tmp_path / "10.json", "crazyflie", tmp_path / "9.json"]
    assert [file.name for file in load_named(named)] == ["9", "10", "crazyflie", "race"]
    assert [file.name for file in load_named(named, 3)] == ["9", "10", "crazyflie"]
    assert "4 drones, fewer than the requested 5" in error_of(load_named, named, 5)


def test_two_drones_of_one_name_are_refused(tmp_path):
    (tmp_path / "race.yaml").write_text(to_json(load_drone(platforms.path_of("race")).drone, {}))
    assert "both would be named race" in error_of(load_named, ["race", "fs", tmp_path / "race.yaml"])
    assert "both would be named fs" in error_of(load_named, ["fs", "fs"])
