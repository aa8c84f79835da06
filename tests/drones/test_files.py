import json

import jax
import numpy as np
import pytest

from raptor_jax.config import SamplingConfig
from raptor_jax.drones import parameters
from raptor_jax.drones.files import load_directory, load_drone, save_drone, to_json
from raptor_jax.drones.sampling import sample_drone
from raptor_jax.drones.tasks import task
from raptor_jax.errors import UserError
from validation.drones import REFERENCE


def error_of(call, *arguments):
    """Returns the one line of an error."""
    with pytest.raises(UserError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


def test_a_round_trip_keeps_every_bit(tmp_path):
    drone, metadata = sample_drone(SamplingConfig(), 7)
    save_drone(tmp_path / "0007.json", drone, metadata)
    file = load_drone(tmp_path / "0007.json")
    assert (file.name, file.path, file.metadata) == ("0007", tmp_path / "0007.json", metadata)
    jax.tree.map(np.testing.assert_array_equal, file.drone, drone)
    assert to_json(file.drone, file.metadata) == (tmp_path / "0007.json").read_text()


def test_every_leaf_has_its_shape_and_host_precision(changed):
    drone = load_drone(changed({})).drone
    assert {leaf.dtype for leaf in jax.tree.leaves(drone)} == {np.dtype(np.float64), np.dtype(bool)}
    assert (drone.dynamics.rotor_positions.shape, drone.dynamics.mass.shape) == ((4, 3), ())


@pytest.mark.reference
@pytest.mark.parametrize(("directory", "number"), [("dynamics", 64), ("registry", 4)])
def test_reference_drones_are_consistent(directory, number):
    files = load_directory(REFERENCE / directory)
    assert len(files) == number
    for dynamics in (file.drone.dynamics for file in files):
        np.testing.assert_allclose(dynamics.J @ dynamics.J_inv, np.eye(3), atol=1e-9)
        thrust = 4 * parameters.rotor_thrust(dynamics, parameters.hovering_throttle(dynamics)).mean()
        np.testing.assert_allclose(thrust, parameters.weight(dynamics), rtol=1e-12)


@pytest.mark.reference
def test_rltools_values_and_keys_keep_their_order_in_our_file():
    theirs = REFERENCE / "dynamics" / "0.json"
    ours = to_json(load_drone(theirs).drone, {})
    pairs, expected = (json.loads(text, object_pairs_hook=list) for text in (ours, theirs.read_text()))
    assert pairs == [*expected, ("metadata", [])]


@pytest.mark.l2f
def test_l2f_loads_our_file(tmp_path):
    l2f = pytest.importorskip("l2f")
    drone, metadata = sample_drone(SamplingConfig(), 3)
    device, environment, theirs = l2f.Device(), l2f.Environment(), l2f.Parameters()
    l2f.initialize_environment(device, environment)
    l2f.parameters_from_json(device, environment, to_json(drone, metadata), theirs)
    # It prints six decimals.
    back = json.loads(l2f.parameters_to_json(device, environment, theirs))
    for field in ("mass", "rotor_positions", "rotor_thrust_coefficients", "hovering_throttle_relative"):
        np.testing.assert_allclose(back["dynamics"][field], getattr(drone.dynamics, field), rtol=1e-6, atol=1e-6)
    assert back["trajectory"]["mixture"] == drone.trajectory.mixture.tolist()
    assert back["mdp"]["termination"]["linear_velocity_threshold"] == 10


def test_files_are_ordered_by_number(content, tmp_path):
    for name in ("10", "9", "0", "b2", "b10", "1"):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "distribution.txt").write_text("no drone")
    assert [file.name for file in load_directory(tmp_path)] == ["0", "1", "9", "10", "b2", "b10"]
    assert [file.name for file in load_directory(tmp_path, 2)] == ["0", "1"]


def test_computed_fields_may_be_omitted(changed):
    whole = load_drone(changed({})).drone.dynamics
    computed = ("dynamics.J_inv", "dynamics.hovering_throttle_relative", "mdp", "trajectory", "disturbances")
    drone = load_drone(changed(dict.fromkeys(computed))).drone
    for field in ("J_inv", "hovering_throttle_relative"):
        np.testing.assert_allclose(getattr(drone.dynamics, field), getattr(whole, field), rtol=1e-12)
    jax.tree.map(np.testing.assert_array_equal, (drone.mdp, drone.trajectory), task("default", drone.dynamics))
    assert drone.disturbances.random_force.std == 0


def test_thrust_to_weight_replaces_a_thrust_curve(changed):
    changes = {"dynamics.rotor_thrust_coefficients": None, "dynamics.mass": 1.0, "metadata.thrust_to_weight": 2.0}
    dynamics = load_drone(changed(changes)).drone.dynamics
    # Twice the weight of 9.81 N, shared by four rotors, in the proportions of the Crazyflie.
    nominal = np.array([0.00352526, 0.01437313, 0.09223048])
    expected = 2 * 9.81 / 4 * nominal / nominal.sum()
    np.testing.assert_allclose(dynamics.rotor_thrust_coefficients, np.tile(expected, (4, 1)), rtol=1e-12)


WRONG = {
    "dynamics": [None],
    "integration": [0.01],
    "dynamics.mass": [None, "heavy", True, [1.0], 0, -1.5, float("nan"), 10**400],
    "dynamics.action_limit": [3],
    "dynamics.action_limit.min": [1],
    "dynamics.rotor_positions": [[[0, 0, 0]] * 3, [[0, 0]] * 4],
    # 1e-50 is 0 in float32.
    "dynamics.rotor_time_constants_rising": [[0.1, 0.1, 0.1, 0], [0.1, 0.1, 0.1, 1e-50]],
    "dynamics.rotor_time_constants_falling": [[0.1, 0.1, 0.1, -0.1]],
    "dynamics.rotor_thrust_directions": [[[0, 0, 2]] * 4],
    "dynamics.rotor_torque_directions": [[[0, 0, 0]] * 4],
    "dynamics.rotor_thrust_coefficients": [[[0, 0, 1e-4]] * 4, [[100, 0, 0]] * 4],
    "dynamics.gravity": [[0, 0, 9.81]],
    "dynamics.J": [[[1, 0.5, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, -1, 0], [0, 0, 1]]],
    "integration.dt": [0],
    "mdp.init": [None],
    "mdp.init.guidance": [1.2],
    "mdp.init.min_rpm": [0.5],
    "mdp.reward.scale": [None],
    "mdp.reward.constant": [float("inf")],
    "mdp.reward.position_error_integral": [0.5],
    "mdp.termination.enabled": [1],
    "mdp.termination.position_threshold": [0],
    "mdp.observation_noise.position": [-0.1],
    "mdp.action_noise.normalized_rpm": [-0.1],
    "disturbances.random_force.std": [-1],
    "trajectory.mixture": [[0.5, 0.4], [1.5, -0.5], [1]],
    "trajectory.langevin.alpha": [0],
    "metadata": [[1]],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG.items() for value in values])
def test_a_wrong_field_is_named_in_one_line(changed, field, value):
    path = changed({field: value})
    message = error_of(load_drone, path)
    assert message.startswith(f"{path}: {field}: ")
    assert "; " in message


@pytest.mark.parametrize(
    ("field", "value", "computed"),
    [
        ("dynamics.J", [[1, 0, 0], [0, 1, 0], [0, 0, 0]], "dynamics.J_inv"),
        ("dynamics.rotor_thrust_coefficients", [[0, 0, 1e-4]] * 4, "dynamics.hovering_throttle_relative"),
        ("dynamics.rotor_thrust_coefficients", [[0, 0, 0]] * 4, "mdp"),
        ("dynamics.gravity", [0, 0, 0], "dynamics.rotor_thrust_coefficients"),
    ],
)
def test_an_error_names_the_cause(changed, field, value, computed):
    path = changed({computed: None, field: value})
    assert error_of(load_drone, path).startswith(f"{path}: {field}: ")


@pytest.mark.parametrize("ratio", [None, 0.9, "2"])
def test_a_missing_thrust_curve_needs_a_valid_ratio(changed, ratio):
    fields = {"dynamics.rotor_thrust_coefficients": None, "metadata.thrust_to_weight": ratio}
    message = error_of(load_drone, changed(fields))
    assert all(field in message for field in fields)


@pytest.mark.parametrize(
    ("ending", "text", "reason"),
    [
        ("json", '{"dynamics": {\n  "mass": }}', "line 2, column 11"),
        ("json", "", "line 1, column 1"),
        ("json", "[1, 2]", "not an object"),
        ("json", "[" * 100_000, "nested too deeply"),
        ("json", '{"dynamics": ' + "9" * 10_000 + "}", "digits"),
        ("json", " " * (2 << 20), "bytes"),
        *(("yaml", text, "contains no fields") for text in ("", "- 1", "mass", "dynamics")),
    ],
)
def test_a_text_without_an_object_is_refused_in_one_line(tmp_path, ending, text, reason):
    path = tmp_path / f"wrong.{ending}"
    path.write_text(text)
    message = error_of(load_drone, path)
    assert message.startswith(f"{path}: ")
    assert reason in message


def test_unreadable_files_are_user_errors(content, tmp_path):
    assert "no such file" in error_of(load_drone, tmp_path / "none.json")
    assert "directory" in error_of(load_drone, tmp_path)
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    assert "not JSON" in error_of(load_drone, tmp_path / "binary.json")
    assert "no such directory" in error_of(load_directory, tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "no *.json files" in error_of(load_directory, tmp_path / "empty")
    (tmp_path / "empty" / "0.json").write_text(json.dumps(content))
    assert "contains 1 drones, fewer than the requested 2" in error_of(load_directory, tmp_path / "empty", 2)


def test_saving_is_atomic_and_refuses_invalid_drones(tmp_path):
    drone, metadata = sample_drone(SamplingConfig(), 0)
    save_drone(tmp_path / "0.json", drone, metadata)
    before = (tmp_path / "0.json").read_bytes()
    heavy = drone.replace(dynamics=drone.dynamics.replace(mass=np.array(1e3)))
    assert "dynamics.rotor_thrust_coefficients" in error_of(save_drone, tmp_path / "0.json", heavy, {})
    with pytest.raises(ValueError):
        save_drone(tmp_path / "0.json", drone, {"mean": float("nan")})
    assert (tmp_path / "0.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["0.json"]
    assert "cannot be written" in error_of(save_drone, tmp_path / "0.json" / "1.json", drone, {})


BY_HAND = """
dynamics:
  mass: 0.8                     # kg
  rotor_positions: [[0.08, -0.09, 0], [-0.07, -0.09, 0], [-0.07, 0.09, 0], [0.08, 0.09, 0]]
  rotor_thrust_coefficients: [0, 1.5, 8]
  rotor_torque_constants: 1e-2
  rotor_time_constants_rising: .04
  J: [3e-3, 2.5E-3, 5.0e-03]
metadata: {measured: 2026-11-20, by: [a, b]}
"""
BARE = {
    "mass": 0.8,
    "rotor_positions": [[0.08, -0.09, 0], [-0.07, -0.09, 0], [-0.07, 0.09, 0], [0.08, 0.09, 0]],
    "rotor_thrust_directions": [[0, 0, 1]] * 4,
    "rotor_torque_directions": [[0, 0, -1], [0, 0, 1], [0, 0, -1], [0, 0, 1]],
    "rotor_thrust_coefficients": [[0, 1.5, 8]] * 4,
    "rotor_torque_constants": [0.01] * 4,
    "rotor_time_constants_rising": [0.04] * 4,
    "rotor_time_constants_falling": [0.04] * 4,
    "gravity": [0, 0, -9.81],
    "J": [[0.003, 0, 0], [0, 0.0025, 0], [0, 0, 0.005]],
    "action_limit": {"min": 0, "max": 1},
}
SHORT = {"dynamics": {**BARE, "J": [0.003, 0.0025, 0.005], "rotor_torque_constants": 0.01}}


@pytest.mark.parametrize(
    ("ending", "text"),
    [("yaml", BY_HAND), ("yml", BY_HAND), ("json", json.dumps(SHORT))],
    ids=["yaml", "yml", "json"],
)
def test_a_short_file_equals_a_complete_one(tmp_path, ending, text):
    (tmp_path / f"short.{ending}").write_text(text)
    (tmp_path / "whole.json").write_text(json.dumps({"dynamics": BARE, "integration": {"dt": 0.01}}))
    short, whole = (load_drone(tmp_path / name).drone for name in (f"short.{ending}", "whole.json"))
    jax.tree.map(np.testing.assert_array_equal, short, whole)


def test_a_date_in_yaml_stays_text_which_json_can_hold(tmp_path):
    (tmp_path / "short.yaml").write_text(BY_HAND)
    file = load_drone(tmp_path / "short.yaml")
    assert (file.name, file.metadata) == ("short", {"measured": "2026-11-20", "by": ["a", "b"]})


@pytest.mark.parametrize(
    ("line", "instead", "expected"),
    [
        ("  mass: 0.8", "  mass: 0.8 kg", "dynamics.mass: '0.8 kg"),
        ("  mass: 0.8", "  mas: 0.8", "dynamics.mas: is not a field of a drone; did you mean mass?"),
        ("  mass: 0.8", "  mass: 0.8\n  rotor_torque_direction: 1", "dynamics.rotor_torque_direction: is not a field"),
        ("  mass: 0.8", "  mass: 0.8\n  mass: 0.9", "the key mass occurs twice"),
        ("  mass: 0.8", "  mass: &m 0.8\n  x: *m", "aliases are not supported"),
        ("[3e-3, 2.5E-3, 5.0e-03]", "[3e-3, 2.5E-3]", "numbers (kg m^2, body frame), or its 3 diagonal entries"),
        ("1e-2", "[1e-2, 1e-2]", "or the value of one rotor for all four"),
        ("  rotor_time_constants_rising: .04", "", "dynamics.rotor_time_constants_rising: is missing"),
        ("[0, 1.5, 8]", "[0, 0, 1]", "thrust-to-weight of 0.5097"),
        ("2026-11-20", ".inf", "metadata.measured: inf should be finite"),
        ("2026-11-20", "!!timestamp 2026-11-20", "not readable as YAML"),
        ("dynamics:", "- dynamics:", "not readable as YAML"),
        # Only a value of one rotor has a short form, and a position has three numbers.
        ("[[0.08, -0.09, 0],", "[0.08, -0.09, 0] # [", "dynamics.rotor_positions"),
    ],
)
def test_a_mistake_in_yaml_is_named_in_one_line(tmp_path, line, instead, expected):
    path = tmp_path / "a.yaml"
    assert line in BY_HAND
    path.write_text(BY_HAND.replace(line, instead))
    message = error_of(load_drone, path)
    assert message.startswith(f"{path}: ")
    assert expected in message
