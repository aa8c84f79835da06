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
    settings = {
        "dynamics-dir": directory / "own",
        "output-dir": directory / "run",
        "device": "cpu",
        "training.steps-per-teacher": 80_000,
        "training.eval-frequency": 40_000,
        "training.extra-rounds": 0,
        "training.final-eval-episodes": 8,
    }
    status = cli.main(["train", *(f"--{name}={value}" for name, value in settings.items())])
    assert status in (exit_status.PASSED, exit_status.NOT_PASSED)
    return directory


def test_the_default_settings_log_finite_numbers(trained):
    with np.load(trained / "run" / layout.CURVES) as curves:
        for tag in ("critic_loss", "actor_loss", "alpha", "q_value", "entropy"):
            assert np.all(np.isfinite(curves[f"train_{tag}"])), tag


@pytest.fixture(scope="module")
def distilled(trained):
    arguments = [trained / "run", "--config", "configs/quickstart_distill.yaml", "--output-dir", trained / "student"]
    arguments += ["--distillation.iterations", "200", "--distillation.episodes", "64"]
    assert cli.main(["distill", *map(str, arguments), "--device", "cpu"]) == exit_status.PASSED
    return trained


def test_the_student_beats_its_average_teacher_on_unseen_drones(distilled, numbers):
    flown = ("--drones", distilled / "foreign", "--episodes", EPISODES)
    teachers = numbers("evaluate", distilled / "run", *flown, "--matrix", distilled / "matrix.png")["mean_return"]
    either = (exit_status.PASSED, exit_status.NOT_PASSED)
    found = numbers("evaluate", distilled / "student", *flown, statuses=either)["student"]["mean_return"]
    assert np.shape(teachers) == (TEACHERS, FOREIGN)
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


def test_the_report_refuses_a_student_of_other_teachers(distilled, run_of_4, refused):
    line = refused("report", run_of_4, "--student", distilled / "student", "--device", "cpu")
    assert "learned from the teachers of" in line


def test_tensorboard_has_the_students_curves(distilled):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(distilled / "student" / layout.LOGS))
    events.Reload()
    assert {"train/loss", "train/mean_return", "eval/median", "eval/percentile_5"} <= set(events.Tags()["scalars"])
    losses = [event.value for event in events.Scalars("train/loss")]
    assert losses[-1] < losses[0]
