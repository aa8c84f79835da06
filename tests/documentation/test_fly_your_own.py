"""The page on flying one's own drone: its commands run as they stand, on its example."""

import contextlib
import json
import math
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.drones import files
from raptor_jax.runs import layout
from validation import faults

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "fly_your_own.md").read_text()
EXAMPLE = ROOT / "examples" / "my_quadrotor.yaml"
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"(?m)^    (raptor-jax .*)$", PAGE)]
DRONE = re.search(r"(?m)^    dynamics:\n(?:      .*\n)+", PAGE)
TINY = faults.RUNS["windows"] | {
    "training.steps-per-teacher": 128,
    "training.extra-rounds": 0,
    "training.pass-return": -1e6,
}
"""Settings of a training that every teacher passes in seconds."""
OWN = Path("experiments") / "my_quadrotor"


def run(arguments, *more):
    """Runs a command with small settings, and returns its status."""
    small = [f"--{name}={value}" for name, value in TINY.items()] if arguments[0] == "train" else []
    device = ["--device=cpu"] if arguments[0] in ("train", "evaluate", "report") else []
    return cli.main([*arguments, *device, *small, *more])


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """The working directory, in which all commands of the page were run."""
    directory = tmp_path_factory.mktemp("own")
    (directory / "examples").symlink_to(EXAMPLE.parent)
    with contextlib.chdir(directory):
        for command in COMMANDS:
            assert run(command) == exit_status.PASSED, command
        yield directory


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


def test_a_run_on_a_named_drone_is_resumed_with_the_same_one(directory, capsys):
    training = next(command for command in COMMANDS if command[:2] == ["train", "--drone"] and str(OWN) in command)
    longer = ("--resume", "--training.steps-per-teacher=256")
    other = ["race" if argument.endswith(".yaml") else argument for argument in training]
    assert run(other, *longer) == exit_status.USAGE
    assert "cannot resume with other drones: my_quadrotor, race;" in capsys.readouterr().err
    assert run(training, *longer) == exit_status.PASSED
    assert json.loads((directory / OWN / layout.RESULTS).read_text())["run"]["step"] == 256


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
        (("--drone", "race", "--dynamics-dir", "x"), "not allowed with argument"),
        (("--drone", "race", "--generate-dynamics"), "leave --drone out"),
        (("--drone", "race", "--num-teachers", "2"), "--drone: contains 1 drones, fewer than the requested 2"),
        (("--drone",), "expected at least one argument"),
    ],
)
def test_a_wrong_drone_is_refused(refused, arguments, expected):
    assert expected in refused("train", *arguments)
