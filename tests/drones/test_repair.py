"""Third-party files whose derived fields contradict the rest: the errors, and the changes of a repair."""

import copy
import json

import numpy as np
import pytest

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.drones import platforms
from raptor_jax.drones.fields import derived_names
from raptor_jax.drones.files import load_drone
from raptor_jax.drones.parameters import Drone
from raptor_jax.drones.repair import write_repaired
from raptor_jax.errors import UserError
from tests.drones.test_files import error_of

# As two drones of RLtools' registry have them: a throttle in revolutions, and the inverse of another drone's inertia.
WRONG = {
    "dynamics.J_inv": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "dynamics.hovering_throttle_relative": 1234.5,
}


def test_the_derived_fields_are_these():
    assert set(derived_names(Drone)) == set(WRONG)


@pytest.mark.parametrize("field", WRONG)
@pytest.mark.parametrize("form", ["wrong value", "wrong type", "not finite"])
def test_the_error_says_that_a_derived_field_can_be_left_out(changed, field, form):
    path = changed({field: {"wrong value": WRONG[field], "wrong type": "text", "not finite": 1e300}[form]})
    message = error_of(load_drone, path)
    assert message.startswith(f"{path}: {field}: ")
    assert "; leave it out, and it is computed" in message
    assert "--repair" in message
    load_drone(changed({field: None}))


@pytest.fixture
def repaired(tmp_path, capsys):
    """A function that repairs a file by the command, and returns the new content and the printed lines."""

    def repair(path):
        output = tmp_path / "repaired.json"
        assert cli.main(["inspect", str(path), "--repair", str(output)]) == exit_status.PASSED
        *lines, last = capsys.readouterr().out.splitlines()
        assert last == f"wrote {output}"
        return json.loads(output.read_text()), lines

    return repair


def test_the_command_repairs_a_file_and_names_each_change(content, changed, repaired):
    content["dynamics"]["comment"] = "kept"
    correct = copy.deepcopy(content)
    path = changed(WRONG)
    before = path.read_text()
    after, lines = repaired(path)
    assert [line.partition(":")[0] for line in lines] == list(WRONG)
    assert lines[1].startswith("dynamics.hovering_throttle_relative: was 1234.5, is 0.")
    assert path.read_text() == before
    for field in ("J_inv", "hovering_throttle_relative"):
        np.testing.assert_allclose(after["dynamics"].pop(field), correct["dynamics"].pop(field), rtol=1e-12)
    assert after == correct


def test_consistent_fields_do_not_change_and_omitted_fields_stay_omitted(content, changed, repaired):
    assert repaired(changed({"dynamics.J_inv": None})) == (content, ["nothing to change"])


def test_yaml_and_platforms_become_json(tmp_path):
    race = json.loads(platforms.path_of("race").read_text())["dynamics"]
    (tmp_path / "a.yaml").write_text(json.dumps({"dynamics": race}))
    for drone in ("race", tmp_path / "a.yaml"):
        output = tmp_path / f"{drone}-repaired.json"
        (change,) = write_repaired(drone, output)
        assert change.startswith("dynamics.hovering_throttle_relative: was 0.13")
        assert load_drone(output).drone.dynamics.mass == race["mass"]


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


def test_refusals(changed, tmp_path, refused):
    path, output = changed({}), tmp_path / "b.json"
    assert "already exists" in error_of(write_repaired, path, path)
    assert "ends in .json" in error_of(write_repaired, path, tmp_path / "b.yaml")
    assert "cannot be written" in error_of(write_repaired, path, path / "b.json")
    assert "cannot be combined with --json or --teacher" in refused("inspect", path, "--repair", output, "--json")
    assert "NaN or infinity" in error_of(write_repaired, changed({"unknown": float("nan")}), output)
    assert "dynamics.mass: -1" in error_of(write_repaired, changed({"dynamics.mass": -1}), output)
    assert not output.exists()
