"""Third-party files whose derived fields contradict the rest: the errors, and the changes of a repair."""

import json

import numpy as np
import pytest

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.drones import parameters, platforms
from raptor_jax.drones.fields import derived_names
from raptor_jax.drones.files import load_drone
from raptor_jax.drones.parameters import Drone
from raptor_jax.drones.repair import write_repaired
from raptor_jax.errors import UserError
from tests.drones.test_files import error_of, put, write

# As two drones of RLtools' registry have them: a throttle in revolutions, and the inverse of another drone's inertia.
WRONG = {
    "dynamics.J_inv": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "dynamics.hovering_throttle_relative": 1234.5,
}


def test_the_derived_fields_are_these():
    assert set(derived_names(Drone)) == set(WRONG)


@pytest.mark.parametrize("field", WRONG)
@pytest.mark.parametrize("form", ["wrong value", "wrong type", "not finite"])
def test_the_error_says_that_a_derived_field_can_be_left_out(content, tmp_path, field, form):
    value = {"wrong value": WRONG[field], "wrong type": "text", "not finite": 1e300}[form]
    put(content, field, value)
    message = error_of(load_drone, write(tmp_path / "a.json", content))
    assert field in message
    assert "leave it out, and it is computed" in message
    assert "--repair" in message
    put(content, field, None)
    load_drone(write(tmp_path / "a.json", content))


def test_the_command_repairs_a_file_and_names_each_change(content, tmp_path, capsys):
    for field, value in WRONG.items():
        put(content, field, value)
    content["dynamics"]["comment"] = "kept"
    path, output = write(tmp_path / "a.json", content), tmp_path / "b.json"
    before = path.read_text()
    assert cli.main(["inspect", str(path), "--repair", str(output)]) == exit_status.PASSED
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == list(WRONG)
    assert lines[1].startswith("dynamics.hovering_throttle_relative: was 1234.5, is 0.")
    assert lines[2:] == [f"wrote {output}"]
    assert path.read_text() == before
    dynamics = load_drone(output).drone.dynamics
    np.testing.assert_allclose(dynamics.J @ dynamics.J_inv, np.eye(3), atol=1e-9)
    lift = 4 * parameters.rotor_thrust(dynamics, dynamics.hovering_throttle_relative).mean()
    np.testing.assert_allclose(lift, parameters.weight(dynamics), rtol=1e-9)
    # Everything else is as it was.
    repaired = json.loads(output.read_text())
    for field in WRONG:
        put(repaired, field, None)
        put(content, field, None)
    assert repaired == content


def test_consistent_fields_do_not_change_and_omitted_fields_stay_omitted(content, tmp_path, capsys):
    put(content, "dynamics.J_inv", None)
    path, output = write(tmp_path / "a.json", content), tmp_path / "b.json"
    assert cli.main(["inspect", str(path), "--repair", str(output)]) == exit_status.PASSED
    assert capsys.readouterr().out == f"nothing to change\nwrote {output}\n"
    assert json.loads(output.read_text()) == content


def test_yaml_and_platforms_become_json(tmp_path):
    race = json.loads(platforms.path_of("race").read_text())["dynamics"]
    (tmp_path / "a.yaml").write_text(json.dumps({"dynamics": race}))
    for drone in ("race", tmp_path / "a.yaml"):
        output = tmp_path / f"{drone}-repaired.json"
        (change,) = write_repaired(drone, output)
        assert change.startswith("dynamics.hovering_throttle_relative: was 0.13")
        assert load_drone(output).drone.dynamics.mass == load_drone(platforms.path_of("race")).drone.dynamics.mass


def test_deep_nesting_is_kept_or_refused(content, tmp_path):
    for depth in (100, 900, 980):
        text = json.dumps(content)[:-1] + ', "unknown": ' + "[" * depth + "]" * depth + "}"
        (tmp_path / "a.json").write_text(text)
        try:
            write_repaired(tmp_path / "a.json", tmp_path / f"{depth}.json")
        except UserError as error:
            assert "nested too deeply" in str(error)
        else:
            assert json.loads((tmp_path / f"{depth}.json").read_text()) == json.loads(text)


def test_refusals(content, tmp_path, capsys):
    path = write(tmp_path / "a.json", content)
    assert "already exists" in error_of(write_repaired, path, path)
    assert "ends in .json" in error_of(write_repaired, path, tmp_path / "b.yaml")
    assert "cannot be written" in error_of(write_repaired, path, path / "b.json")
    assert cli.main(["inspect", str(path), "--repair", str(tmp_path / "b.json"), "--json"]) == exit_status.USAGE
    assert "cannot be combined with --json or --teacher" in capsys.readouterr().err
    content["unknown"] = float("nan")
    assert "NaN or infinity" in error_of(write_repaired, write(path, content), tmp_path / "b.json")
    put(content, "dynamics.mass", -1)
    assert "dynamics.mass: -1" in error_of(write_repaired, write(path, content), tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()
