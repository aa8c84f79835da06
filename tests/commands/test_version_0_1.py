"""A run of version 0.1, with its section `apg`: it can still be read and evaluated, but not trained further."""

import json
import math
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.config import build
from raptor_jax.drones import files
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


def inspected(capsys, *arguments: str) -> dict:
    assert cli.main(["inspect", "--json", *arguments]) == exit_status.PASSED
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments: str) -> str:
    assert cli.main([*arguments, "--device", "cpu"]) == exit_status.USAGE
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_inspect_reads_the_run(capsys, run):
    found = inspected(capsys, str(run))
    assert [teacher["mean_return"] for teacher in found["teachers"]] == [-112.48677825927734, -98.30883026123047]
    assert [teacher["share_terminated"] for teacher in found["teachers"]] == [1, 1]
    assert [checkpoint["whole"] for checkpoint in found["checkpoints"]] == [True, True]
    assert found["run"]["config"]["sac"]["horizon"] == 20


def test_inspect_prints_the_run(capsys, run):
    assert cli.main(["inspect", str(run)]) == exit_status.PASSED
    assert "sac.horizon 20" in capsys.readouterr().out


def test_inspect_reads_the_checkpoints(capsys, run):
    found = inspected(capsys, str(run / "checkpoints"))
    assert found["config"]["environment"]["environments_per_teacher"] == 8


def test_inspect_reads_one_teacher(capsys, run):
    found = inspected(capsys, str(run), "--teacher", "1")
    assert found["evaluation"]["reward"][0] == pytest.approx(-94.50815)
    assert set(found["training"]) == {"step", "step_reward", "share_terminated", "gradient_norm"}


def test_inspect_reads_the_drone(capsys):
    assert inspected(capsys, str(FIXTURE / "drone.json"))["kind"] == "drone"


def test_the_drone_keeps_its_numbers():
    mass = files.load_drone(FIXTURE / "drone.json").drone.dynamics.mass
    assert float(mass) == json.loads((FIXTURE / "drone.json").read_text())["dynamics"]["mass"]


def test_inspect_reads_the_warm_start(capsys):
    found = inspected(capsys, str(FIXTURE / "start.npz"))
    assert found["provenance"]["updates"] == 1000


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


def test_evaluate_flies_the_kept_actors(run, tmp_path):
    path = tmp_path / "numbers.json"
    options = ["--episodes", str(EPISODES), "--device", "cpu", "--json", str(path)]
    assert cli.main(["evaluate", str(run), *options]) == exit_status.NOT_PASSED
    for teacher, mean, std, length in zip(
        json.loads(path.read_text())["teachers"], MEAN_RETURN, STD_RETURN, EPISODE_LENGTH, strict=True
    ):
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


def test_an_exported_teacher_has_the_kept_weights(run, tmp_path):
    assert cli.main(["export", str(run), "--format", "npz", "--output", str(tmp_path / "out")]) == exit_status.PASSED
    arrays, _ = warm_start.read(tmp_path / "out" / "teacher_0001.npz")
    kept = read_teachers(run, 1)[0].layers
    jax.tree.map(
        lambda path_kernel, kernel: np.testing.assert_array_equal(path_kernel, kernel),
        {name: arrays[f"{name}/kernel"] for name in kept},
        {name: layer["kernel"] for name, layer in kept.items()},
    )


def test_report_shows_the_run(run):
    assert cli.main(["report", str(run), "--device", "cpu"]) == exit_status.PASSED
    assert "SAC at horizon 20" in (run / "report.html").read_text()


def test_the_run_cannot_be_resumed(capsys, run):
    arguments = ["--resume", "--output-dir", str(run), "--dynamics-dir", str(run / "checkpoints" / "dynamics")]
    assert "use sac.actor_learning_rate and sac.critic_learning_rate" in refused(capsys, "train", *arguments)


def test_its_settings_cannot_be_trained(capsys, run, tmp_path):
    checkpoints = run / "checkpoints"
    arguments = ["--output-dir", str(tmp_path / "new"), "--dynamics-dir", str(checkpoints / "dynamics")]
    message = refused(capsys, "train", "--config", str(checkpoints / "config.yaml"), *arguments)
    assert "use sac.actor_learning_rate and sac.critic_learning_rate" in message


def test_settings_of_apg_are_those_of_a_horizon(run):
    found = stored_config.load(run / "checkpoints" / "config.yaml")
    assert (found.sac.horizon, found.environment.environments_per_teacher, found.sac.gamma) == (20, 8, 0.99)
    assert (found.sac.actor_learning_rate, found.sac.critic_learning_rate) == (0.01, 0.004)


def test_settings_of_sac_are_those_of_horizon_0(run):
    path = run / "checkpoints" / "config.yaml"
    path.write_text(path.read_text().replace("algorithm: apg", "algorithm: sac"))
    found = stored_config.load(path)
    assert (found.sac.horizon, found.environment.environments_per_teacher, found.sac.gamma) == (0, 16, 0.98)
    assert (found.sac.actor_learning_rate, found.sac.critic_learning_rate) == (0.004, 0.004)


def test_a_gamma_of_1_was_allowed():
    found = build(stored_config.translate({"apg": {"gamma": 1.0}}), {}, "test")
    assert found.sac.gamma == pytest.approx(1)


@pytest.mark.parametrize("values", [None, 3, [], {"apg": 1}, {"sac": {"gamma": 0.9}}, {"training": {"algorithm": 1}}])
def test_invalid_settings_are_returned_unchanged(values):
    before = json.dumps(values)
    stored_config.translate(values)
    assert json.dumps(values) == before
