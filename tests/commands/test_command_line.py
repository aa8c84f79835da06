"""Wrong input on the command line: one clear line, exit status 2, and nothing trained."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.config import Config, all_keys
from raptor_jax.drones import sampling


@pytest.fixture
def drones(tmp_path):
    directory = tmp_path / "dynamics"
    sampling.write_drones(directory, Config().sampling, 2)
    return directory


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def precious(run):
    """A file in the output directory."""
    run.mkdir()
    (run / "precious").write_text("weeks of work")
    return run / "precious"


@pytest.fixture
def train_refused(refused, drones, run):
    """A function that runs a training that must be refused, and returns its one line."""
    return lambda *more: refused("train", "--dynamics-dir", drones, "--output-dir", run, *more)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "required"),
        (("fly",), "invalid choice: 'fly'"),
        (("train", "--sac.critic-learnin-rate", "1"), "did you mean --sac.critic-learning-rate?"),
        (("train", "--sac.actor_learning_rat", "1"), "did you mean --sac.actor-learning-rate?"),
        (("train", "--fast"), "--fast: unknown option"),
        (("sample", "--training.seed", "1"), "--training.seed: unknown option; it is a setting of another command"),
        (("train", "--training.extra-rounds", "9"), "--training.extra-rounds: '9' should be less than or equal to 8"),
        (("train", "--training.steps-per-teacher", "2000000000"), "and 5 extra_rounds, each twice as long"),
        (("train", "--sac.tau", "7"), "--sac.tau: '7' should be less than or equal to 1"),
        (("train", "--sac.tau"), "expected one argument"),
        (
            ("train", "--sac.horizon", "0", "--sac.actor-batch-size", "512"),
            "--sac.horizon, --sac.actor-batch-size: actor_batch_size 512 is above",
        ),
        (("train", "--training.pass-return", "-1e6", "--sac.gamma", "-1"), "--sac.gamma: '-1' should be"),
        (("evaluate", "nowhere", "--seed", "-1"), "'-1' should be a whole number"),
        (("train", "--num-teachers", "0"), "'0' should be a whole number from 1 to"),
        (("train", "--num-teachers", "many"), "'many' should be a whole number"),
        (("train", "--generate-dynamics", "--teachers", "0:5"), "leave --teachers out"),
        (("evaluate", "nowhere", "--seed", str(2**31)), "should be a whole number from 0 to 2147483647"),
        (("report", "a", "b"), "b: unexpected argument"),
        (("report",), "see raptor-jax report --help"),
        (("train", "--device", "tpu"), "invalid choice: 'tpu'"),
        (("train", "--config", "none.yaml"), "none.yaml: no such configuration file"),
        (("train", "--dynamics-dir", "nowhere"), "nowhere: no such directory"),
        (("evaluate", "nowhere"), "nowhere: holds no checkpoints"),
        (("inspect", "nowhere.json"), "nowhere.json: no such file"),
        (("export", "nowhere"), "--format"),
        (("export", "nowhere", "--format", "tar"), "invalid choice: 'tar'"),
        (("export", "nowhere", "--format", "c"), "nowhere: holds no checkpoints"),
        (("rollout", "nowhere", "--teacher", "-1"), "'-1' should be a teacher's number, or all"),
        (("rollout", "nowhere"), "nowhere: holds no checkpoints"),
    ],
)
def test_wrong_arguments(refused, arguments, expected):
    assert expected in refused(*arguments)


def test_more_teachers_than_drones(train_refused, drones):
    line = train_refused("--num-teachers", 3)
    assert f"{drones}: contains 2 drones, fewer than the requested 3" in line


def test_an_empty_directory_of_drones(refused, tmp_path):
    assert f"{tmp_path}: contains no *.json files" in refused("train", "--dynamics-dir", tmp_path)


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="this machine has an NVIDIA driver")
def test_no_cuda_device(drones, tmp_path):
    command = [sys.executable, "-m", "raptor_jax.cli", "train", "--device", "cuda", "--dynamics-dir", str(drones)]
    finished = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert finished.returncode == exit_status.USAGE
    (line,) = finished.stderr.splitlines()
    assert "--device cuda" in line
    assert "raptor-jax[cuda12]" in line


def test_an_output_directory_that_holds_something(train_refused, precious):
    line = train_refused()
    assert "--overwrite" in line
    assert "is not empty, but holds no run" in line
    assert "--output-dir" in line
    assert precious.read_text() == "weeks of work"


def test_an_output_path_that_is_a_file(train_refused, run):
    run.write_text("")
    assert "is a file" in train_refused()


def test_a_run_that_ends_before_it_learns(train_refused, run):
    line = train_refused("--sac.horizon", 0, "--training.steps-per-teacher", 10)
    assert re.search(r"training.steps_per_teacher: 10 .*n_warmup_steps", line)
    assert not run.exists()


def test_a_replay_that_does_not_fit_names_the_capacity_that_does(train_refused, monkeypatch):
    monkeypatch.setattr("raptor_jax.population.memory.available_bytes", lambda device: 2**30)
    steps = ("--training.steps-per-teacher", 10**9, "--sac.replay-capacity", 10**9)
    line = train_refused(*steps, "--sac.horizon", 0, "--training.extra-rounds", 0)
    fitting = int(line.split("--sac.replay-capacity ")[1].split()[0])
    # Two teachers, 64 bytes a transition, and a little for the rest.
    assert 0.9 * 2**30 < 2 * fitting * 64 < 0.96 * 2**30
    assert fitting % Config().environment.environments_per_teacher == 0


def test_a_disk_that_cannot_hold_the_checkpoints_and_the_old_run_stays(train_refused, precious, monkeypatch):
    monkeypatch.setattr("raptor_jax.runs.directory.shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    assert "checkpoints need" in train_refused("--overwrite")
    assert precious.read_text() == "weeks of work"
    assert "checkpoints need" in train_refused("--output-dir", precious.parent / "new")


@pytest.mark.parametrize("command", ["train", "distill"])
def test_help_names_every_key_of_the_command_with_its_default(capsys, command):
    with pytest.raises(SystemExit) as leave:
        cli.main([command, "--help"])
    assert leave.value.code == 0
    text = capsys.readouterr().out
    keys = [key for key in all_keys() if key.startswith("distillation.") == (command == "distill")]
    for key in keys:
        assert f"--{key.replace('_', '-')}" in text
    assert len(re.findall(r"\(default:\s", text)) >= len(keys)


def test_generate_dynamics_writes_checks_and_stops(capsys, tmp_path):
    arguments = ["train", "--generate-dynamics", "--num-teachers", "3", "--dynamics-dir", str(tmp_path / "d")]
    assert cli.main(arguments) == exit_status.PASSED
    assert sorted(path.name for path in (tmp_path / "d").glob("*.json")) == ["0000.json", "0001.json", "0002.json"]
    assert "thrust-to-weight" in capsys.readouterr().out
    assert list((tmp_path / "d").glob("*.png"))


def test_inspect_shows_a_drone_with_units(capsys, drones):
    assert cli.main(["inspect", str(drones / "0000.json")]) == exit_status.PASSED
    assert re.search(r"dynamics\.mass\W.*\bkg\b", capsys.readouterr().out)


def test_the_working_directory_is_not_moved_aside(refused, drones, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "working directory" in refused("train", "--dynamics-dir", drones, "--output-dir", ".", "--overwrite")


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"run": 1, "teachers": []}', '{"run": {}, "teachers": [{}]}', "nonsense"]
)
def test_inspect_refuses_invalid_results(refused, tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    assert "results.json" in refused("inspect", tmp_path)
