"""A whole training as a user starts it, and the files that it writes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.runs import checkpoints
from tests.runs.builder import results_of
from validation import faults

pytestmark = pytest.mark.usefixtures("unoptimized_module")

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_teachers.py"
STEPS = 256
# A replay as large for every length, so that they all have the same programs.
SHORT = [f"--training.steps-per-teacher={STEPS}", f"--sac.replay-capacity={STEPS}"]
LONGER_RESUME = ["--training.steps-per-teacher=320", "--resume"]
EVALUATIONS = [32, 64, 128, 192, STEPS]
TAGS = {"critic_loss", "actor_loss", "alpha", "q_value", "entropy", "episode_reward", "episode_length"}
SCALARS = {"eval/reward", *(f"train/{tag}" for tag in TAGS)}


def arguments_of(directory, output_dir, *more):
    """Returns the arguments of a short training on the drones of a directory."""
    return faults.arguments_of(directory, "model_free", output_dir, *SHORT, *more)


def start(directory, output_dir, *more, **variables):
    """Starts the script in a process with these variables besides its own."""
    command = [sys.executable, str(SCRIPT), *arguments_of(directory, output_dir, *more)[1:]]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, **variables}, **pipes)


def train(directory, output_dir, *more, **variables):
    """Runs the script to its end; returns what it prints on stdout and on stderr."""
    process = start(directory, output_dir, *more, **variables)
    said, errors = process.communicate(timeout=300)
    assert process.returncode == exit_status.PASSED, errors
    return said, errors


def restored(path):
    """Returns a checkpoint's arrays as plain orbax reads them."""
    with ocp.StandardCheckpointer() as checkpointer:
        return checkpointer.restore(path.absolute())


def scalars(run, name):
    """Returns the events of the first teacher or of the population, and the names of their scalars."""
    events = EventAccumulator(str(run / "logs" / name)).Reload()
    return events, set(events.Tags()["scalars"])


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("training")
    faults.prepare(directory)
    return directory


@pytest.fixture(scope="module")
def printed(directory):
    """What a training prints on stdout and on stderr; its run is `run`."""
    return train(directory, "run")


@pytest.fixture(scope="module")
def run(directory, printed):
    return directory / "run"


@pytest.fixture(scope="module")
def results(run):
    return results_of(run)


def test_the_output_describes_the_training(printed):
    said, errors = printed
    for expected in ("replay", "compiled in", "passing 3/3", "3 of 3 passed", "mass [kg]", "tensorboard --logdir"):
        assert expected in said
    assert "warning" not in errors.lower()


def test_results_describe_the_run_and_every_teacher(results):
    about = results["run"]
    assert (about["status"], about["step"]) == ("finished", STEPS)
    assert about["config"]["training"]["steps_per_teacher"] == STEPS
    assert {"jax", "flax", "optax", "orbax-checkpoint", "python"} <= about["versions"].keys()
    assert {"compiling", "training", "evaluating"} == about["timings"].keys()
    assert about["device"]
    assert about["rounds"] == [{"teacher_ids": [0, 1, 2], "steps": STEPS, "updates": 56}]
    for number, teacher in enumerate(results["teachers"]):
        assert (teacher["teacher_id"], teacher["drone"]) == (number, f"{number:04d}.json")
        assert teacher["passed"] is True
        assert 0 < teacher["episode_length"] <= 20
        assert 0 <= teacher["share_terminated"] <= 1
        assert teacher["best_step"] in EVALUATIONS
        assert teacher["stochastic_mean_return"] != teacher["mean_return"]
        for name in ("best_eval_reward", "mean_return", "std_return", "stochastic_mean_return"):
            assert np.isfinite(teacher[name])


def test_plain_orbax_opens_the_kept_actors(run, results):
    for row, teacher in enumerate(results["teachers"]):
        tree = restored(run / teacher["final_path"])
        assert tree["teacher_id"].tolist() == [0, 1, 2]
        assert tree["actor"]["hidden_0"]["kernel"].shape == (3, 26, 8)
        assert tree["actor"]["output"]["bias"].shape == (3, 8)
        assert tree["critic"]["hidden_0"]["kernel"].shape == (3, 2, 30, 8)
        assert np.all(tree["alpha"] > 0)
        assert tree["mean_return"][row] == pytest.approx(teacher["best_eval_reward"])
        assert tree["step"][row] == teacher["best_step"]


def test_the_latest_checkpoint_holds_all_that_learns(run):
    tree = restored(run / "checkpoints" / "latest" / str(STEPS) / "default")
    # The last of the three is repeated where the cores of the machine do not divide them.
    assert tree["teacher_id"][:3].tolist() == [0, 1, 2]
    assert tree["teachers"]["critic"]["params"]["mlp"]["hidden_0"]["kernel"].shape[1:] == (2, 30, 8)
    assert {"teachers", "episodes", "replay", "keys", "flown", "updates", "active", "teacher_id"} == tree.keys()


def test_settings_and_drones_are_stored_with_the_checkpoints(directory, run):
    assert f"steps_per_teacher: {STEPS}" in (run / "checkpoints" / "config.yaml").read_text()
    given, stored = (
        {path.name: json.loads(path.read_text()) for path in drones.glob("*.json")}
        for drones in (directory / "dynamics", run / "checkpoints" / "dynamics")
    )
    assert stored == given


def test_curves_hold_every_teacher(run, results):
    with np.load(run / "curves.npz") as curves:
        assert curves["teacher_id"].tolist() == [0, 1, 2]
        assert curves["eval_step"].tolist() == EVALUATIONS
        assert curves["train_step"].tolist() == list(range(32, STEPS + 1, 32))
        assert {curves[f"train_{tag}"].shape for tag in TAGS} == {(8, 3)}
        best = [teacher["best_eval_reward"] for teacher in results["teachers"]]
        assert curves["eval_reward"].max(axis=0) == pytest.approx(best)


def test_tensorboard_shows_the_first_teachers_and_the_population(run):
    runs = {path.name for path in (run / "logs").iterdir()}
    assert runs == {"teacher_0000", *(f"population_{name}" for name in ("min", "q05", "q50", "q95", "max"))}
    for name in ("teacher_0000", "population_q50"):
        events, names = scalars(run, name)
        assert names == SCALARS
        assert [point.step for point in events.Scalars("eval/reward")] == EVALUATIONS


@pytest.mark.slow
def test_a_training_through_windows_logs_what_sac_learns_and_keeps_its_critics(directory):
    run, once = directory / "windows", ("--training.extra-rounds=0", "--training.pass-return=-1e6")
    assert cli.main(faults.arguments_of(directory, "windows", run.name, *once)) == exit_status.PASSED
    assert scalars(run, "teacher_0000")[1] == SCALARS
    with np.load(run / "curves.npz") as curves:
        assert {curves[f"train_{tag}"].shape for tag in TAGS} == {(16, 3)}
        for tag in TAGS - {"episode_reward", "episode_length"}:
            assert np.all(np.isfinite(curves[f"train_{tag}"]))
    assert all(np.isfinite(teacher["stochastic_mean_return"]) for teacher in results_of(run)["teachers"])
    best, latest = checkpoints.load_best(run)[1], checkpoints.load_latest(run, 512)
    assert best["critic"]["hidden_0"]["kernel"].shape == (3, 2, 36, 32)
    assert best["alpha"].shape == (3,)
    assert latest["teachers"]["target_critic"]["params"]["mlp"]["hidden_0"]["kernel"].shape == (3, 2, 36, 32)
    assert "replay" not in latest


@pytest.mark.slow
def test_the_exit_status_reports_a_teacher_that_does_not_pass_and_the_old_run_is_kept(directory, run, results, capsys):
    shutil.copytree(run, directory / "again")
    more = ("--overwrite", "--training.pass-return=1e6")
    assert cli.main(arguments_of(directory, "again", *more)) == exit_status.NOT_PASSED
    assert "0 of 3 passed" in capsys.readouterr().out
    assert results_of(directory / "again.previous-1") == results


@pytest.fixture(scope="module")
def stopped(directory, run):
    """A run like `run` on which Ctrl-C was pressed after 64 of its steps: its process, and what that printed."""
    process = start(directory, "stopped")
    next(line for line in process.stdout if line.startswith("step        64"))
    process.send_signal(signal.SIGINT)
    return process, *process.communicate(timeout=120)


@pytest.mark.slow
def test_ctrl_c_finishes_the_chunk_saves_and_exits_with_its_own_status(directory, stopped):
    process, said, errors = stopped
    assert process.returncode == exit_status.STOPPED, errors
    assert errors == ""
    about = results_of(directory / "stopped")["run"]
    assert about["status"] == "interrupted"
    assert 64 <= about["step"] <= STEPS
    assert f"stopped at step {about['step']}; continue with the same command and --resume" in said
    for kind in ("latest", "best"):
        assert (directory / "stopped" / "checkpoints" / kind / str(about["step"])).is_dir()


@pytest.mark.slow
def test_a_resumed_run_ends_bit_for_bit_like_one_that_was_never_stopped(directory, run, stopped):
    shutil.copytree(directory / "stopped", directory / "resumed")
    assert "resumed from step " in train(directory, "resumed", "--resume")[0]
    assert faults.differences(directory / "resumed", run) == []


def require_close(run, other):
    """Compares what two runs recorded; another number of teachers in a product rounds otherwise."""
    with np.load(run / "curves.npz") as expected, np.load(other / "curves.npz") as found:
        for name in expected.files:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-3, err_msg=name)


@pytest.mark.slow
def test_four_devices_train_what_one_does_and_resume_from_each_other(directory, run, stopped):
    four = {"JAX_NUM_CPU_DEVICES": "4"}
    assert "each of 4 cpu" in train(directory, "on_four", **four)[0]
    require_close(run, directory / "on_four")
    # Three teachers and one that fills the fourth device; the single device of this process continues with the three.
    assert cli.main(arguments_of(directory, "on_four", *LONGER_RESUME)) == exit_status.PASSED
    shutil.copytree(directory / "stopped", directory / "resumed_on_four")
    train(directory, "resumed_on_four", "--resume", **four)
    require_close(run, directory / "resumed_on_four")


@pytest.mark.slow
def test_two_processes_train_what_one_does(directory, run):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"
    shared = {"JAX_NUM_CPU_DEVICES": "1", "JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    processes = [start(directory, "by_two", "--distributed", JAX_PROCESS_ID=number, **shared) for number in "01"]
    said = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "3 of 3 passed" in said[0][0]
    assert "passed" not in said[1][0]
    require_close(run, directory / "by_two")
    # One process continues what two have written.
    assert cli.main(arguments_of(directory, "by_two", *LONGER_RESUME)) == exit_status.PASSED


@pytest.mark.slow
def test_a_slice_of_the_teachers_is_trained_as_among_all(directory, run):
    assert cli.main(arguments_of(directory, "slice", "--teachers=1:3")) == exit_status.PASSED
    assert [teacher["teacher_id"] for teacher in results_of(directory / "slice")["teachers"]] == [1, 2]
    with np.load(run / "curves.npz") as whole, np.load(directory / "slice" / "curves.npz") as part:
        assert part["teacher_id"].tolist() == [1, 2]
        np.testing.assert_allclose(part["eval_reward"], whole["eval_reward"][:, 1:], rtol=1e-3, atol=1e-3)
