"""The drone sheet of `inspect`: derived quantities, computed by hand, and warnings."""

import json

import numpy as np
import pytest

from raptor_jax.drones import platforms
from raptor_jax.drones.files import load_drone
from raptor_jax.inspection.drone_sheet import describe_sheet
from tests.inspection.test_inspection import shown

# A square of 0.2 m with simple numbers, so that derived quantities are easy to compute by hand.
ARM, THRUST, TORQUE_CONSTANT = 0.1, 9.81, 0.02
DRONE = {
    "mass": 1.0,
    "rotor_positions": [[ARM, -ARM, 0], [-ARM, -ARM, 0], [-ARM, ARM, 0], [ARM, ARM, 0]],
    "rotor_thrust_coefficients": [0, 0, THRUST],
    "rotor_torque_constants": TORQUE_CONSTANT,
    "rotor_time_constants_rising": 0.05,
    "rotor_time_constants_falling": 0.1,
    "J": [4e-3, 4e-3, 6e-3],
}


def sheet_of(tmp_path, **changes):
    (tmp_path / "a.json").write_text(json.dumps({"dynamics": DRONE | changes}))
    return describe_sheet(load_drone(tmp_path / "a.json").drone)


def test_derived_quantities_match_hand_computed_values(tmp_path):
    sheet = sheet_of(tmp_path)
    found = {quantity["name"]: quantity for quantity in sheet["quantities"]}
    expected = {
        "thrust_to_weight": 4,
        "torque_to_inertia": np.sqrt(2) * ARM * THRUST / 4e-3,
        "max_rotor_distance": np.sqrt(2) * ARM,
        "hovering_throttle": 0.5,
        # Two rotors from a quarter of full thrust to rest, the other two up by as much.
        "yaw_acceleration": 4 * TORQUE_CONSTANT * THRUST / 4 / 6e-3,
    }
    assert {name: found[name]["value"] for name in expected} == pytest.approx(expected, rel=1e-12)
    assert (found["thrust_to_weight"]["least"], found["thrust_to_weight"]["most"]) == (1.5, 5)
    assert sheet["warnings"] == []


def test_rotors_have_place_rotation_and_thrust(tmp_path):
    # The centre of mass a quarter of the way from the front axle to the back: the front rotors carry three quarters.
    positions = [[0.05, -0.1, 0], [-0.15, -0.1, 0], [-0.15, 0.1, 0], [0.05, 0.1, 0]]
    rotors = sheet_of(tmp_path, rotor_positions=positions)["rotors"]
    assert [rotor["place"] for rotor in rotors] == ["front right", "back right", "back left", "front left"]
    # Props in, as Betaflight's default: the front right propeller turns counter-clockwise.
    assert [rotor["turns"] for rotor in rotors] == ["counter-clockwise", "clockwise"] * 2
    np.testing.assert_allclose([rotor["hover_thrust"] for rotor in rotors], 9.81 / 8 * np.array([3, 1, 1, 3]))
    assert {(rotor["least_thrust"], rotor["most_thrust"]) for rotor in rotors} == {(0, THRUST)}


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"mass": 3.5}, "thrust-to-weight 1.143: little thrust remains"),
        ({"rotor_time_constants_rising": 0.5}, "0.5 s is above 0.3 s, the largest in the default distribution"),
        ({"rotor_time_constants_falling": 100}, "a time constant of 100 s is above 0.3 s"),
        ({"rotor_time_constants_rising": 0.003}, "makes the simulation unstable; use at least 0.0036 s"),
        ({"rotor_torque_constants": 1e-4}, "yaw control is very weak"),
        ({"rotor_torque_constants": 0}, "the rotors cannot control each axis"),
        ({"J": [4e-3, 4e-3, 9e-3]}, "J: physically impossible"),
        ({"J": [4, 4, 6]}, "J: a radius of gyration of 2.45 m about the vertical axis"),
        (
            {"rotor_positions": [[-0.1, -0.1, 0], [0.1, -0.1, 0], [-0.1, 0.1, 0], [0.1, 0.1, 0]]},
            "the order is not L2F's",
        ),
        ({"rotor_positions": [[9, -9, 0], [-9, -9, 0], [-9, 9, 0], [9, 9, 0]]}, "check that they are in m"),
        ({"rotor_positions": [[0.4, -0.1, 0], [0.1, -0.1, 0], [0.1, 0.1, 0], [0.4, 0.1, 0]]}, "hover level"),
        ({"rotor_thrust_coefficients": [-0.5, 0, 10]}, "pushes down with 0.5 N at the lowest throttle"),
        ({"rotor_thrust_coefficients": [0, 30, -20]}, "the thrust decreases with the throttle"),
    ],
)
def test_an_implausible_value_causes_a_warning(tmp_path, changes, warning):
    assert any(warning in found for found in sheet_of(tmp_path, **changes)["warnings"])


def test_rotors_of_a_plus_have_places(tmp_path):
    rotors = sheet_of(tmp_path, rotor_positions=[[0.1, 0, 0], [0, -0.1, 0], [-0.1, 0, 0], [0, 0.1, 0]])["rotors"]
    assert [rotor["place"] for rotor in rotors] == ["front", "right", "back", "left"]
    np.testing.assert_allclose([rotor["hover_thrust"] for rotor in rotors], 9.81 / 4)


@pytest.mark.parametrize(
    ("name", "warnings"),
    [("crazyflie", ["little thrust"]), ("fs", []), ("race", ["pushes down"]), ("flightmare", ["pushes down"])],
)
def test_the_platforms_are_plausible(name, warnings):
    found = describe_sheet(load_drone(platforms.path_of(name)).drone)["warnings"]
    assert len(found) == len(warnings)
    assert all(warning in text for warning, text in zip(warnings, found, strict=True))


def test_inspect_shows_a_platform_by_its_name(capsys):
    text = shown(capsys, "crazyflie")
    for part in ("outside", "position [m]", "warning: thrust-to-weight 1.467: little thrust remains"):
        assert part in text
    assert "no unusual values" in shown(capsys, "fs")
