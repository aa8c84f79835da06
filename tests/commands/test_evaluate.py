"""The command `evaluate`: which teachers fly, in which simulator, on which drones."""

import shutil

import numpy as np
import pytest

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.config import SamplingConfig
from raptor_jax.drones import sampling
from raptor_jax.runs import layout

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

EPISODES = 4


@pytest.fixture
def evaluated(numbers):
    """A function that returns what `evaluate --json` writes, whether teachers pass or not."""
    either = (exit_status.PASSED, exit_status.NOT_PASSED)
    return lambda run, *arguments: numbers("evaluate", run, "--episodes", EPISODES, *arguments, statuses=either)


@pytest.mark.parametrize(("selection", "ids"), [("0:2", [0, 1]), ("3", [3]), ("3,0:1", [0, 3]), ("1:3,2:4", [1, 2, 3])])
def test_only_selected_teachers_fly(run_of_4, evaluated, selection, ids):
    everyone = evaluated(run_of_4)["teachers"]
    found = evaluated(run_of_4, "--teachers", selection)["teachers"]
    assert [teacher["teacher_id"] for teacher in found] == ids
    for teacher in found:
        # The same episodes as among all of them.
        assert teacher["mean_return"] == pytest.approx(everyone[teacher["teacher_id"]]["mean_return"], rel=1e-5)
        assert teacher["drone"] == everyone[teacher["teacher_id"]]["drone"]


def test_a_run_is_compared_with_the_foundation_policy(run_of_4, capsys):
    arguments = ["--policy", "foundation", "--episodes", str(EPISODES), "--device", "cpu"]
    assert cli.main(["evaluate", str(run_of_4), *arguments]) == exit_status.NOT_PASSED
    assert "higher than the foundation policy on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--teachers", "2:6"), "has no teacher 4, but 0 to 3"),
        (("--teachers", "2000000000:2147483647"), "has no teacher"),
        (("--teachers", "2:1"), "should be FIRST:END"),
        (("--teachers", "x"), "should be FIRST:END"),
        (("--drones", "somewhere"), "needs --matrix PNG"),
        (("--matrix", "m.png", "--simulator", "l2f"), "leave --policy and --simulator out"),
        (("--matrix", "nowhere/m.png"), "--matrix: nowhere/m.png: cannot be written"),
    ],
)
def test_wrong_options_are_refused_in_one_line(refused, run_of_4, arguments, problem):
    assert problem in refused("evaluate", run_of_4, "--device", "cpu", *arguments)


@pytest.mark.l2f
@pytest.mark.parametrize("task", ["default", "raptor"])
def test_the_original_simulator_gives_the_same_returns(capsys, run_of_4, evaluated, tmp_path, task):
    pytest.importorskip("l2f")
    run = tmp_path / "run"
    shutil.copytree(run_of_4, run)
    settings = layout.config_file(run)
    settings.write_text(settings.read_text().replace("task: file", f"task: {task}"))
    assert f"task: {task}" in settings.read_text()
    ours = evaluated(run)["teachers"]
    capsys.readouterr()
    found = evaluated(run, "--simulator", "l2f")
    assert found["run"]["simulator"] == "l2f"
    for one, other in zip(ours, found["teachers"], strict=True):
        # The very episodes, a moving target's path included: float32 alone tells them apart.
        assert other["mean_return"] == pytest.approx(one["mean_return"], rel=1e-3, abs=0.05)
        assert other["episode_length"] == one["episode_length"]
        assert other["position_offset"] == pytest.approx(one["position_offset"], rel=1e-2, abs=1e-4)
    compared = found["run"]["against_jax"]
    assert compared["within_one_standard_error"] == 4
    assert 0 <= compared["largest_difference"] < compared["largest_standard_error"]
    assert "for 4 of 4 teachers by at most one standard error" in capsys.readouterr().out


@pytest.mark.l2f
def test_more_episodes_than_the_original_holds_are_refused(refused, run_of_4):
    pytest.importorskip("l2f")
    arguments = ("--simulator", "l2f", "--teachers", "0", "--episodes", "9000", "--device", "cpu")
    assert "at most 8192 episodes, not 9000" in refused("evaluate", run_of_4, *arguments)


def test_every_teacher_flies_every_drone(capsys, run_of_4, evaluated, tmp_path):
    picture = tmp_path / "matrix.png"
    found = evaluated(run_of_4, "--matrix", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    returns = np.array(found["mean_return"])
    assert returns.shape == (4, 4)
    assert found["own"] == [0, 1, 2, 3]
    own = [teacher["mean_return"] for teacher in evaluated(run_of_4)["teachers"]]
    np.testing.assert_allclose(np.diag(returns), own, rtol=1e-4)
    # All four have the packaged start for their actor: what differs is the drone.
    np.testing.assert_allclose(returns, np.tile(returns[:1], (4, 1)), rtol=1e-4)
    text = capsys.readouterr().out
    assert "own drones:" in text
    assert "other drones:" in text


def test_drones_on_which_no_teacher_was_trained(run_of_4, evaluated, tmp_path):
    drones = tmp_path / "others"
    sampling.write_drones(drones, SamplingConfig(seed=9), 2)
    # One of them is a teacher's own under another name.
    shutil.copy(layout.drones(run_of_4) / "0001.json", drones / "0002.json")
    found = evaluated(run_of_4, "--teachers", "0:2", "--drones", drones, "--matrix", tmp_path / "matrix.png")
    assert found["drones"] == ["0000.json", "0001.json", "0002.json"]
    assert found["own"] == [None, 2]
    assert np.shape(found["share_terminated"]) == (2, 3)
