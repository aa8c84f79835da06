"""A run of version 0.1, with its section `apg`: it can still be read and evaluated, but not trained further."""

import copy
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.config import build
from raptor_jax.export.teacher import read_teachers
from raptor_jax.runs import analysis, stored_config, warm_start

FIXTURE = Path(__file__).parents[1] / "fixtures" / "run_0_1"
EPISODES = 1000
# Printed by that version: `evaluate`, 1000 episodes; and the actions at an observation of 26 numbers from -1 to 1.
MEAN_RETURN = [-101.2316665649414, -96.61386108398438]
STD_RETURN = [31.663759231567383, 11.37071704864502]
EPISODE_LENGTH = [74.48700714111328, 36.070003509521484]
ACTION = [
    [-0.09185542911291122, 0.03311283141374588, 0.21655979752540588, -0.24906666576862335],
    [0.07938945293426514, 0.04961194097995758, 0.037317290902137756, -0.32153213024139404],
]


@pytest.fixture
def run(tmp_path) -> Path:
    shutil.copytree(FIXTURE / "run", tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def inspected(capsys):
    """A function that returns what `inspect --json` prints."""

    def run(*arguments) -> dict:
        assert cli.main(["inspect", "--json", *map(str, arguments)]) == exit_status.PASSED
        return json.loads(capsys.readouterr().out)

    return run


def test_inspect_reads_the_run(inspected, run):
    found = inspected(run)
    assert [teacher["mean_return"] for teacher in found["teachers"]] == [-112.48677825927734, -98.30883026123047]
    assert [teacher["share_terminated"] for teacher in found["teachers"]] == [1, 1]
    assert [checkpoint["whole"] for checkpoint in found["checkpoints"]] == [True, True]
    assert found["run"]["config"]["sac"]["horizon"] == 20


def test_inspect_prints_the_run(capsys, run):
    assert cli.main(["inspect", str(run)]) == exit_status.PASSED
    assert "sac.horizon 20" in capsys.readouterr().out


def test_inspect_reads_the_checkpoints(inspected, run):
    assert inspected(run / "checkpoints")["config"]["environment"]["environments_per_teacher"] == 8


def test_inspect_reads_one_teacher(inspected, run):
    found = inspected(run, "--teacher", 1)
    assert found["evaluation"]["reward"][0] == pytest.approx(-94.50815)
    assert set(found["training"]) == {"step", "step_reward", "share_terminated", "gradient_norm"}


def test_inspect_reads_the_warm_start(inspected):
    assert inspected(FIXTURE / "start.npz")["provenance"]["updates"] == 1000


def test_the_drone_keeps_its_numbers(inspected):
    mass = inspected(FIXTURE / "drone.json")["parameters"]["dynamics.mass"]["value"]
    assert mass == json.loads((FIXTURE / "drone.json").read_text())["dynamics"]["mass"]


def test_a_training_can_begin_from_the_warm_start():
    config = build({}, {"training.start": str(FIXTURE / "start.npz"), "sac.actor_hidden_dim": 8}, "test")
    with np.load(FIXTURE / "start.npz") as arrays:
        kernel = arrays["hidden_0/kernel"]
    np.testing.assert_array_equal(warm_start.load(config)["params"]["mlp"]["hidden_0"]["kernel"], kernel)


def test_analysis_reads_the_curves(run):
    population = analysis.load(run)
    np.testing.assert_allclose(population.teachers["mean_return"], [-112.486778, -98.308830], rtol=1e-6)
    np.testing.assert_allclose(population.evaluation["reward"][:, 0], [-95.618355, -94.50815], rtol=1e-6)
    assert population.training["share_terminated"].shape == (2, 10)


def test_evaluate_flies_the_kept_actors(run, numbers):
    found = numbers("evaluate", run, "--episodes", EPISODES, statuses=[exit_status.NOT_PASSED])["teachers"]
    for teacher, mean, std, length in zip(found, MEAN_RETURN, STD_RETURN, EPISODE_LENGTH, strict=True):
        # Four standard errors of the difference: equal seeds draw other initial states than in version 0.1.
        assert teacher["mean_return"] == pytest.approx(mean, abs=4 * std * math.sqrt(2 / EPISODES))
        assert teacher["episode_length"] == pytest.approx(length, abs=4)


def test_the_kept_actors_act_as_they_did(run):
    for teacher, action in zip(read_teachers(run, None), ACTION, strict=True):
        np.testing.assert_allclose(teacher.action(np.linspace(-1, 1, 26)), action, atol=1e-6)


@pytest.mark.parametrize("format", ["npz", "onnx", "rltools-h5", "c"])
def test_export_writes_every_teacher(run, tmp_path, format):
    output = tmp_path / "out"
    assert cli.main(["export", str(run), "--format", format, "--output", str(output)]) == exit_status.PASSED
    assert len(list(output.iterdir())) == 2
    if format == "npz":
        arrays, _ = warm_start.read(output / "teacher_0001.npz")
        for name, layer in read_teachers(run, 1)[0].layers.items():
            np.testing.assert_array_equal(arrays[f"{name}/kernel"], layer["kernel"])


def test_report_shows_the_run(run):
    assert cli.main(["report", str(run), "--device", "cpu"]) == exit_status.PASSED
    assert "SAC at horizon 20" in (run / "report.html").read_text()


def test_neither_it_nor_its_settings_can_be_trained(refused, run, tmp_path):
    checkpoints = run / "checkpoints"
    resume = ("--resume", "--output-dir", run)
    anew = ("--config", checkpoints / "config.yaml", "--output-dir", tmp_path / "new")
    for arguments in resume, anew:
        line = refused("train", *arguments, "--dynamics-dir", checkpoints / "dynamics", "--device", "cpu")
        assert "use sac.actor_learning_rate and sac.critic_learning_rate" in line


@pytest.mark.parametrize(
    ("algorithm", "expected"), [("apg", (20, 8, 0.99, 0.01, 0.004)), ("sac", (0, 16, 0.98, 0.004, 0.004))]
)
def test_settings_of_apg_are_those_of_a_horizon_and_of_sac_those_of_none(run, algorithm, expected):
    path = run / "checkpoints" / "config.yaml"
    path.write_text(path.read_text().replace("algorithm: apg", f"algorithm: {algorithm}"))
    found = stored_config.load(path)
    rates = (found.sac.actor_learning_rate, found.sac.critic_learning_rate)
    assert (found.sac.horizon, found.environment.environments_per_teacher, found.sac.gamma, *rates) == expected


def test_a_gamma_of_1_was_allowed():
    found = build(stored_config.translate({"apg": {"gamma": 1.0}}), {}, "test")
    assert found.sac.gamma == pytest.approx(1)


@pytest.mark.parametrize("values", [None, 3, [], {"apg": 1}, {"sac": {"gamma": 0.9}}])
def test_settings_without_sections_or_former_keys_stay_as_they_are(values):
    assert stored_config.translate(copy.deepcopy(values)) == values


def test_translated_settings_are_other_objects():
    stored = {"training": {"algorithm": 1}}
    assert stored_config.translate(stored) == {"training": {}, "environment": {}, "sac": {}}
    assert stored == {"training": {"algorithm": 1}}


def test_rescue_rounds_became_extra_rounds():
    stored = {"training": {"rescue_rounds": 1, "seed": 3}, "sac": {"horizon": 0}}
    assert stored_config.translate(stored) == {"training": {"extra_rounds": 1, "seed": 3}, "sac": {"horizon": 0}}
