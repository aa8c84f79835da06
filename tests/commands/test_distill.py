"""`train`, `distill` and `evaluate` in sequence, with configs/quickstart_distill.yaml as intended."""

import json
import re

import numpy as np
import pytest

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.config import SamplingConfig
from raptor_jax.drones import sampling
from raptor_jax.runs import layout, student_results

pytestmark = pytest.mark.slow

TEACHERS = 16
FOREIGN = 16
EPISODES = "4"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of 16 teachers, a quarter as long as the default, and drones on which none of them was trained."""
    directory = tmp_path_factory.mktemp("quickstart")
    for name, seed, count in (("own", 0, TEACHERS), ("foreign", 1, FOREIGN)):
        sampling.write_drones(directory / name, SamplingConfig(seed=seed), count)
    short = [
        "--training.steps-per-teacher=80000",
        "--training.eval-frequency=40000",
        "--training.extra-rounds=0",
        "--training.final-eval-episodes=8",
    ]
    arguments = ["--dynamics-dir", directory / "own", "--output-dir", directory / "run", "--device", "cpu", *short]
    status = cli.main(["train", *map(str, arguments)])
    assert status in (exit_status.PASSED, exit_status.NOT_PASSED)
    return directory


@pytest.fixture(scope="module")
def distilled(trained):
    arguments = [trained / "run", "--config", "configs/quickstart_distill.yaml", "--output-dir", trained / "student"]
    arguments += ["--distillation.iterations", "200", "--distillation.episodes", "64"]
    assert cli.main(["distill", *map(str, arguments), "--device", "cpu"]) == exit_status.PASSED
    return trained


def test_the_student_beats_its_average_teacher_on_unseen_drones(distilled, capsys):
    flown = ["--drones", str(distilled / "foreign"), "--episodes", EPISODES, "--device", "cpu"]
    matrix, numbers = distilled / "matrix.json", distilled / "student.json"
    picture = ["--matrix", str(distilled / "matrix.png"), "--json", str(matrix)]
    assert cli.main(["evaluate", str(distilled / "run"), *flown, *picture]) == exit_status.PASSED
    cli.main(["evaluate", str(distilled / "student"), *flown, "--json", str(numbers)])
    teachers = np.array(json.loads(matrix.read_text())["mean_return"])
    found = np.array(json.loads(numbers.read_text())["student"]["mean_return"])
    assert teachers.shape == (TEACHERS, FOREIGN)
    assert np.mean(found) > np.mean(teachers)
    assert np.median(found) > np.median(teachers)


def test_the_report_shows_the_student_next_to_its_teachers(distilled):
    page = distilled / "report.html"
    arguments = [distilled / "run", "--student", distilled / "student", "--output", page, "--device", "cpu"]
    assert cli.main(["report", *map(str, arguments)]) == exit_status.PASSED
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1]
    shown = json.loads(data)["teachers"]["student"]
    found = {entry.teacher_id: entry.mean_return for entry in student_results.read(distilled / "student").drones}
    assert len(found) > TEACHERS / 2
    for number, value in enumerate(shown):
        assert value == (pytest.approx(found[number]) if number in found else None)


def test_the_report_refuses_a_student_of_other_teachers(distilled, run_of_4, capsys):
    arguments = ["report", str(run_of_4), "--student", str(distilled / "student"), "--device", "cpu"]
    assert cli.main(arguments) == exit_status.USAGE
    assert "learned from the teachers of" in capsys.readouterr().err


def test_tensorboard_has_the_students_curves(distilled):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(distilled / "student" / layout.LOGS))
    events.Reload()
    assert {"train/loss", "train/mean_return", "eval/median", "eval/percentile_5"} <= set(events.Tags()["scalars"])
    losses = [event.value for event in events.Scalars("train/loss")]
    assert losses[-1] < losses[0]
