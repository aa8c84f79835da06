"""The page on flying one's own drone: its commands run as they stand, on its example."""

import json
import math
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.drones import files
from raptor_jax.runs import layout

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "fly_your_own.md").read_text()
EXAMPLE = ROOT / "examples" / "my_quadrotor.yaml"
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"(?m)^    (raptor-jax .*)$", PAGE)]
DRONE = re.search(r"(?m)^    dynamics:\n(?:      .*\n)+", PAGE)
TINY = {
    "environment.episode-steps": 5,
    "sac.actor-hidden-dim": 8,
    "environment.environments-per-teacher": 2,
    "sac.horizon": 4,
    "training.start": "scratch",
    "training.steps-per-teacher": 64,
    "training.extra-rounds": 0,
    "training.log-frequency": 32,
    "training.eval-frequency": 32,
    "training.eval-episodes": 2,
    "training.final-eval-episodes": 2,
    "training.checkpoint-frequency": 32,
    "training.pass-return": -1e6,
}
SMALLER = {
    "train": ["--device=cpu", *(f"--{name}={value}" for name, value in TINY.items())],
    "evaluate": ["--device=cpu"],
    "report": ["--device=cpu"],
}
OWN = Path("experiments") / "my_quadrotor"


def finish(directory, arguments, *more):
    """Runs a command with small settings in a separate process, which uses the cache of compiled programs."""
    command = [sys.executable, "-m", "raptor_jax.cli", *arguments, *SMALLER.get(arguments[0], ()), *more]
    return subprocess.run(command, capture_output=True, text=True, cwd=directory, check=False)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A directory in which all commands of the page were run."""
    directory = tmp_path_factory.mktemp("own")
    (directory / "examples").symlink_to(EXAMPLE.parent)
    for command in COMMANDS:
        finished = finish(directory, command)
        assert finished.returncode == exit_status.PASSED, (command, finished.stderr)
    return directory


@pytest.mark.slow
def test_the_page_leads_from_a_file_to_an_exported_teacher(directory):
    assert [name for name, *_ in COMMANDS] == ["inspect", "train", "inspect", "train", "evaluate", "report", "export"]
    teachers = json.loads((directory / "experiments" / "race" / layout.RESULTS).read_text())["teachers"]
    assert [teacher["drone"] for teacher in teachers] == ["race.json"]
    assert (directory / OWN / "report.html").is_file()
    assert (directory / OWN / "export" / "c" / "teacher_0000.h").is_file()
    # What the run keeps is the whole drone, for L2F too.
    kept = json.loads((layout.drones(directory / OWN) / "my_quadrotor.json").read_text())
    assert kept["dynamics"]["rotor_torque_constants"] == [0.01] * 4
    assert kept["mdp"]["reward"]["constant"] == 1


@pytest.mark.slow
def test_a_run_on_a_named_drone_is_resumed_with_the_same_one(directory):
    training = next(command for command in COMMANDS if command[:2] == ["train", "--drone"] and str(OWN) in command)
    longer = ("--resume", "--training.steps-per-teacher=128")
    other = ["race" if argument.endswith(".yaml") else argument for argument in training]
    refused = finish(directory, other, *longer)
    assert refused.returncode == exit_status.USAGE
    assert "cannot resume with other drones: my_quadrotor, race;" in refused.stderr
    assert finish(directory, training, *longer).returncode == exit_status.PASSED
    assert json.loads((directory / OWN / layout.RESULTS).read_text())["run"]["step"] == 128


def test_the_page_and_the_example_are_one_drone(tmp_path):
    written = yaml.safe_load(EXAMPLE.read_text())
    (tmp_path / "page.yaml").write_text(DRONE.group())
    ours, theirs = files.load_drone(EXAMPLE).drone, files.load_drone(tmp_path / "page.yaml").drone
    assert files.to_json(ours, {}) == files.to_json(theirs, {})
    pendulum = written["metadata"]["bifilar_pendulum"]
    stiffness = written["dynamics"]["mass"] * 9.81 * pendulum["wire_distance"] ** 2 / pendulum["wire_length"]
    inertia = stiffness * np.square(pendulum["periods"]) / (16 * math.pi**2)
    np.testing.assert_allclose(np.diag(ours.dynamics.J), inertia, rtol=0.005)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--drone", "rcae"), "rcae: no such file or platform; did you mean race?"),
        (("--drone", "race", "race"), "both would be named race"),
        (("--drone", "race", "--dynamics-dir", "x"), "not allowed with argument"),
        (("--drone", "race", "--generate-dynamics"), "leave --drone out"),
        (("--drone", "race", "--num-teachers", "2"), "--drone: contains 1 drones, fewer than the requested 2"),
        (("--drone",), "expected at least one argument"),
    ],
)
def test_a_wrong_drone_is_refused_in_one_line(capsys, arguments, expected):
    assert cli.main(["train", *arguments]) == exit_status.USAGE
    message = capsys.readouterr().err
    assert expected in message
    assert message.count("\n") == 1
