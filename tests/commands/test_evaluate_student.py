"""The command `evaluate` for a student: its drones, its task, and the comparison with another policy."""

from pathlib import Path

import jax
import numpy as np
import pytest

from raptor_jax import cli, student
from raptor_jax.commands import exit_status
from raptor_jax.config import build
from raptor_jax.drones import files
from raptor_jax.evaluation import FINAL, evaluate_policy, students
from raptor_jax.runs import layout, student_file

pytestmark = pytest.mark.slow

EPISODES = 3
PLATFORMS = files.find_drone("crazyflie").parent
CONFIG = build({}, {"environment.task": "file", "training.seed": 5}, "test")


@pytest.fixture(scope="module")
def weights() -> student.Weights:
    return student.create(16, jax.random.key(0))


@pytest.fixture(scope="module")
def untrained(tmp_path_factory, run_of_4, weights):
    """The file of an untrained student of the run's teachers."""
    path = tmp_path_factory.mktemp("untrained") / layout.STUDENT
    student_file.save(path, weights, {"config": CONFIG.model_dump(), "distilled_from": str(run_of_4)})
    return path


@pytest.fixture
def evaluated(untrained, numbers):
    """A function that returns what `evaluate --json` writes about a student that passes nowhere."""
    options = ("evaluate", untrained, "--episodes", EPISODES)
    return lambda *arguments: numbers(*options, *arguments, statuses=[exit_status.NOT_PASSED])


def test_a_student_flies_the_drones_of_its_teachers_in_the_episodes_of_evaluate(evaluated, run_of_4, weights):
    found = evaluated()
    assert found["drones"] == ["0000.json", "0001.json", "0002.json", "0003.json"]
    drones = files.stack_for_training(files.load_directory(layout.drones(run_of_4)), CONFIG.environment)
    expected = students.evaluate(CONFIG, weights, drones, EPISODES, FINAL)
    np.testing.assert_allclose(found["student"]["mean_return"], expected.mean_return, rtol=1e-4, atol=1e-2)
    np.testing.assert_array_equal(found["student"]["share_terminated"], expected.share_terminated)


@pytest.mark.l2f
@pytest.mark.parametrize("task", ["default", "raptor"])
def test_both_policies_fly_in_the_original_simulator(evaluated, capsys, task):
    pytest.importorskip("l2f")
    pytest.importorskip("foundation_policy")
    arguments = ("--task", task, "--policy", "foundation")
    ours, theirs = (evaluated(*arguments, "--simulator", name) for name in ("jax", "l2f"))
    assert (theirs["simulator"], theirs["task"], theirs["bar"]) == ("l2f", task, {"default": 200, "raptor": 300}[task])
    for policy in ("student", "foundation"):
        np.testing.assert_allclose(theirs[policy]["mean_return"], ours[policy]["mean_return"], rtol=1e-3, atol=0.5)
    assert theirs["student"]["mean_return"] != theirs["foundation"]["mean_return"]
    shown = capsys.readouterr().out
    assert "mass [kg]" in shown
    assert "the student scores higher than foundation on 0 of 4 drones" in shown


@pytest.mark.parametrize("name", ["student", "seed"])
def test_another_student_may_be_in_a_directory_named_like_a_key(evaluated, untrained, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    student_file.save(Path(name, layout.STUDENT), student.create(4, jax.random.key(1)), {})
    found = evaluated("--policy", name)
    assert (found["path"], found["seed"]) == (str(untrained), 5)
    assert found["student"]["mean_return"] != found[f"./{name}"]["mean_return"]


def test_another_student_and_other_drones_are_compared_and_drawn(evaluated, tmp_path, capsys):
    other, picture = tmp_path / "other.npz", tmp_path / "returns.png"
    student_file.save(other, student.create(4, jax.random.key(1)), {})
    found = evaluated("--drones", PLATFORMS, "--policy", other, "--plot", picture)
    assert "crazyflie.json" in found["drones"]
    assert len(found[str(other)]["mean_return"]) == len(found["drones"])
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"wrote {picture}" in capsys.readouterr().out


def test_the_student_in_examples_passes_every_platform_that_ships():
    shipped = Path(__file__).parents[2] / "examples" / "student.npz"
    arguments = ["--drones", str(PLATFORMS), "--task", "default", "--episodes", "20", "--device", "cpu"]
    assert cli.main(["evaluate", str(shipped), *arguments]) == exit_status.PASSED


def test_a_memory_does_not_outlive_its_episodes(weights, drones):
    policy = students.StudentPolicy(weights)
    first, second = (evaluate_policy(CONFIG, policy, drones, 2, FINAL).mean_return for _ in range(2))
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
def test_wrong_options_are_refused_in_one_line(untrained, refused, arguments, problem):
    assert problem in refused("evaluate", untrained, "--device", "cpu", *arguments)


def test_options_of_a_student_are_refused_for_a_run(run_of_4, refused):
    line = refused("evaluate", run_of_4, "--task", "default", "--device", "cpu")
    assert f"--task: {run_of_4} is not a student" in line
