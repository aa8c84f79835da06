"""The command `evaluate` for a student: its drones, its task, and the comparison with another policy."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from raptor_jax import cli, student
from raptor_jax.commands import exit_status
from raptor_jax.config import Config
from raptor_jax.drones import files
from raptor_jax.evaluation import FINAL, evaluate_policy, students
from raptor_jax.runs import layout, student_file

pytestmark = pytest.mark.slow

EPISODES = 3


@pytest.fixture(scope="module")
def weights() -> student.Weights:
    return student.create(16, jax.random.key(0))


@pytest.fixture(scope="module")
def untrained(tmp_path_factory, run_of_4, weights):
    """The file of an untrained student of the run's teachers."""
    path = tmp_path_factory.mktemp("untrained") / layout.STUDENT
    config = Config().model_copy(update={"training": Config().training.model_copy(update={"seed": 5})})
    student_file.save(path, weights, {"config": config.model_dump(), "distilled_from": str(run_of_4)})
    return path


def evaluated(path, tmp_path, *arguments: str) -> dict:
    """Returns what `evaluate --json` writes."""
    numbers = tmp_path / "numbers.json"
    options = ["--episodes", str(EPISODES), "--device", "cpu", "--json", str(numbers)]
    # An untrained student passes nowhere.
    assert cli.main(["evaluate", str(path), *options, *arguments]) == exit_status.NOT_PASSED
    return json.loads(numbers.read_text())


def settings(task: str) -> Config:
    return Config().model_copy(
        update={
            "environment": Config().environment.model_copy(update={"task": task}),
            "training": Config().training.model_copy(update={"seed": 5}),
        }
    )


def test_a_student_flies_the_drones_of_its_teachers_in_the_episodes_of_evaluate(untrained, tmp_path, run_of_4, weights):
    found = evaluated(untrained, tmp_path)
    assert found["drones"] == ["0000.json", "0001.json", "0002.json", "0003.json"]
    stacked = files.stack_for_training(files.load_directory(layout.drones(run_of_4)), settings("file").environment)
    expected = students.evaluate(settings("file"), weights, stacked, EPISODES, FINAL)
    np.testing.assert_allclose(found["student"]["mean_return"], expected.mean_return, rtol=1e-4, atol=1e-2)
    np.testing.assert_array_equal(found["student"]["share_terminated"], expected.share_terminated)


@pytest.mark.l2f
@pytest.mark.parametrize("task", ["default", "raptor"])
def test_both_policies_fly_in_the_original_simulator(untrained, tmp_path, capsys, task):
    pytest.importorskip("l2f")
    pytest.importorskip("foundation_policy")
    arguments = ("--task", task, "--policy", "foundation")
    ours, theirs = (evaluated(untrained, tmp_path, *arguments, "--simulator", name) for name in ("jax", "l2f"))
    assert (theirs["simulator"], theirs["task"], theirs["bar"]) == ("l2f", task, {"default": 200, "raptor": 300}[task])
    for policy in ("student", "foundation"):
        np.testing.assert_allclose(theirs[policy]["mean_return"], ours[policy]["mean_return"], rtol=1e-3, atol=0.5)
    assert theirs["student"]["mean_return"] != theirs["foundation"]["mean_return"]
    shown = capsys.readouterr().out
    assert "mass [kg]" in shown
    assert "the student scores higher than foundation on 0 of 4 drones" in shown


def test_another_student_and_other_drones_are_compared_and_drawn(untrained, tmp_path, capsys):
    other, picture = tmp_path / "other.npz", tmp_path / "returns.png"
    student_file.save(other, student.create(4, jax.random.key(1)), {})
    drones = files.find_drone("crazyflie").parent
    found = evaluated(untrained, tmp_path, "--drones", str(drones), "--policy", str(other), "--plot", str(picture))
    assert "crazyflie.json" in found["drones"]
    assert len(found[str(other)]["mean_return"]) == len(found["drones"])
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"wrote {picture}" in capsys.readouterr().out


def test_the_student_in_examples_passes_every_platform_that_ships(tmp_path):
    shipped = Path(__file__).parents[2] / "examples" / "student.npz"
    drones = files.find_drone("crazyflie").parent
    arguments = ["--drones", str(drones), "--task", "default", "--episodes", "20", "--device", "cpu"]
    assert cli.main(["evaluate", str(shipped), *arguments]) == exit_status.PASSED


def test_a_memory_does_not_outlive_its_episodes(weights, drones):
    policy = students.StudentPolicy(weights)
    first, second = (evaluate_policy(Config(), policy, drones, 2, FINAL).mean_return for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--matrix", "m.png"), "is a student, not a run; leave the option out"),
        (("--teachers", "0:2"), "is a student, not a run; leave the option out"),
        (("--policy", "nowhere.npz"), "nowhere.npz: no such file"),
        (("--drones", "nowhere"), "nowhere"),
        (("--plot", "nowhere/p.png"), "--plot: nowhere/p.png: cannot be written"),
    ],
)
def test_wrong_options_are_refused_in_one_line(untrained, capsys, arguments, problem):
    assert cli.main(["evaluate", str(untrained), "--device", "cpu", *arguments]) == exit_status.USAGE
    message = capsys.readouterr().err
    assert problem in message
    assert message.count("\n") == 1


def test_options_of_a_student_are_refused_for_a_run(run_of_4, capsys):
    assert cli.main(["evaluate", str(run_of_4), "--task", "default", "--device", "cpu"]) == exit_status.USAGE
    assert f"--task: {run_of_4} is not a student" in capsys.readouterr().err
