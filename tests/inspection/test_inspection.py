"""The command `inspect`: its description of runs, checkpoints and files, and of damage."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.runs import checkpoints, layout
from tests.export.files import export
from tests.runs.builder import write_run
from validation.fuzz import readers

STEP = readers.STEP


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A run of two teachers with checkpoints of both kinds."""
    run = tmp_path_factory.mktemp("inspected") / "run"
    readers.make_run(run)
    return run


@pytest.fixture
def copy(saved, tmp_path) -> Path:
    """A copy of the run, to be changed."""
    return shutil.copytree(saved, tmp_path / "run")


def described(capsys, *arguments) -> dict:
    """Returns what `inspect --json` prints."""
    capsys.readouterr()
    assert cli.main(["inspect", "--json", *map(str, arguments)]) == exit_status.PASSED
    return json.loads(capsys.readouterr().out)


def shown(capsys, *arguments) -> str:
    assert cli.main(["inspect", *map(str, arguments)]) == exit_status.PASSED
    return capsys.readouterr().out


def test_a_pipe_that_is_closed_ends_the_command_without_a_message(saved):
    command = [sys.executable, "-m", "raptor_jax.cli", "inspect", "--json", str(saved)]
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (exit_status.CLOSED_PIPE, b"")


def test_a_run_lists_teachers_curves_and_checkpoints(capsys, saved):
    found = described(capsys, saved)
    assert found["kind"] == "run"
    assert [teacher["mean_return"] for teacher in found["teachers"]] == [1.5, 2.5]
    assert {array["name"]: array["shape"] for array in found["arrays"]}["eval_reward"] == [2, 2]
    of = [(one["of"], one["step"], one["whole"], one["has_digest"]) for one in found["checkpoints"]]
    assert of == [("best", STEP, True, True), ("latest", STEP, True, True)]
    assert found["checkpoints"][0]["kept"]["mean_return"] == [1.0, 2.0]
    text = shown(capsys, saved)
    assert text.count("yes (digest verified)") == 2
    assert "eval_reward" in text
    assert "actor/hidden_0/kernel" in text
    assert "sac.actor_hidden_dim 8" in text


# As a path of any form: of the kind, of the step, of what lies in it; from elsewhere, and from within.
@pytest.mark.parametrize("place", ["best", f"best/{STEP}", f"best/{STEP}/default", "."])
def test_a_checkpoint_lists_its_content(capsys, saved, place, monkeypatch):
    monkeypatch.chdir(saved / layout.CHECKPOINTS / ("best" if place == "." else "."))
    found = described(capsys, place)
    (one,) = found["checkpoints"]
    assert (one["of"], one["step"], one["teachers"], one["whole"]) == ("best", STEP, 2, True)
    assert one["kept"]["mean_return"] == [1.0, 2.0]
    assert found["config"]["sac"]["actor_hidden_dim"] == 8
    arrays = {array["name"]: (array["shape"], array["dtype"], array["bytes"]) for array in one["arrays"]}
    assert arrays["actor/hidden_0/kernel"] == ([2, 26, 8], "float32", 2 * 26 * 8 * 4)
    actor, critic = 27 * 8 + 9 * 8 + 9 * 8, 37 * 8 + 9 * 8 + 9
    # Beside the networks, alpha, mean_return, std_return, step and teacher_id are five numbers of each teacher.
    assert one["bytes"] == 4 * 2 * (actor + 2 * critic + 5)
    text = shown(capsys, place)
    assert "actor/hidden_0/kernel" in text
    assert "median 2, worst 1, best 2" in text


def test_the_latest_checkpoint_lists_its_content(capsys, saved):
    path = layout.checkpoint(saved, "latest", STEP)
    (one,) = described(capsys, path)["checkpoints"]
    assert (one["of"], one["whole"], one["kept"]["updates"]) == ("latest", True, 0)
    assert "updates 0" in shown(capsys, path)


def test_checkpoints_need_no_run(capsys, saved, tmp_path):
    shutil.copytree(saved / layout.CHECKPOINTS / "best", tmp_path / "backup" / "best")
    (one,) = described(capsys, tmp_path / "backup")["checkpoints"]
    assert (one["whole"], one["has_digest"]) == (True, False)
    assert "readable, without a digest" in shown(capsys, tmp_path / "backup")


@pytest.mark.parametrize("kind", ["best", "latest"])
@pytest.mark.parametrize("asked", ["run", "one"])
def test_a_damaged_checkpoint_is_reported_last(capsys, copy, kind, asked):
    damaged = layout.checkpoint(copy, kind, STEP)
    for data in (damaged / "default").rglob("d/*"):
        data.write_bytes(bytes(byte ^ 1 for byte in data.read_bytes()))
    path = copy if asked == "run" else damaged
    assert cli.main(["inspect", str(path)]) == exit_status.USAGE
    out, error = capsys.readouterr()
    assert "damaged checkpoint" in error
    assert error.count("\n") == 1
    assert str(STEP) in out
    assert cli.main(["inspect", "--json", str(path)]) == exit_status.USAGE
    found = json.loads(capsys.readouterr().out)
    assert [one["whole"] for one in found["checkpoints"] if one["of"] == kind] == [False]


def test_changed_numbers_are_detected(refused, copy):
    step, tree = checkpoints.load_best(copy)
    path = copy / layout.best_arrays(step)
    shutil.rmtree(path)
    tree["actor"]["output"]["bias"][1, 2] += 1e-3
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), tree)
    for command in ("inspect", path), ("evaluate", "--device", "cpu", copy):
        assert "the content differs from what was saved" in refused(*command)


def test_a_checkpoint_may_lack_teacher_ids(capsys, tmp_path):
    path = tmp_path / "best" / "7"
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save((path / "default").absolute(), {"teacher_id": np.int32(3)})
    (one,) = described(capsys, path)["checkpoints"]
    assert (one["step"], one["teachers"], one["kept"]) == (7, None, {"teacher_id": 3})
    assert "teacher_id" in shown(capsys, path)


def test_a_teacher_shows_its_result_drone_and_curves(capsys, tmp_path):
    returns = write_run(tmp_path / "run", 3)
    found = described(capsys, tmp_path / "run", "--teacher", 1)
    assert found["result"]["mean_return"] == returns[1]
    assert found["drone"]["parameters"]["dynamics.mass"] == {"value": found["result"]["mass"], "unit": "kg"}
    # Four chunks of the main round; the extra round trained another teacher.
    assert found["evaluation"]["step"] == [0, 1000, 2000, 3000, 4000]
    np.testing.assert_allclose(found["evaluation"]["reward"], returns[1] * np.arange(5) / 4, rtol=1e-6)
    assert found["training"]["step"] == [1000, 2000, 3000, 4000]
    assert len(described(capsys, tmp_path / "run", "--teacher", 2)["evaluation"]["step"]) == 10
    text = shown(capsys, tmp_path / "run" / layout.CHECKPOINTS, "--teacher", 1)
    assert f"{returns[1]:.0f}" in text
    assert "dynamics.mass" in text
    assert "5 evaluations" in text


def test_missing_content_is_refused(refused, saved, tmp_path):
    assert "has the teachers 0 to 1; name one of them" in refused("inspect", saved, "--teacher", 7)
    assert "no results.json and no checkpoint" in refused("inspect", tmp_path)
    assert "results.json: no such file" in refused("inspect", tmp_path, "--teacher", 0)


def test_all_written_files_are_described(capsys, saved, tmp_path):
    assert described(capsys, saved / layout.RESULTS)["kind"] == "run"
    assert described(capsys, saved / layout.CURVES)["kind"] == "curves"
    _, start = export(saved, "npz", tmp_path)
    found = described(capsys, start)
    assert (found["kind"], found["provenance"]["teacher"]["teacher_id"]) == ("start", 1)
    assert "hidden_0/kernel" in shown(capsys, start)
    drone = described(capsys, layout.drones(saved) / "0000.json")
    assert drone["parameters"]["dynamics.gravity"] == {"value": [0, 0, -9.81], "unit": "m/s^2, world frame"}


def test_values_that_json_cannot_represent_are_refused(refused, copy):
    path = copy / layout.RESULTS
    path.write_text(path.read_text().replace('"step": 0', '"step": 0, "stranger": NaN', 1))
    assert "leave --json out" in refused("inspect", "--json", copy)
