"""A whole training as a user starts it, and the files that it writes."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from raptor_jax.config import Config
from raptor_jax.drones import sampling

pytestmark = pytest.mark.usefixtures("unoptimized_module")

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_teachers.py"
STEPS = 256
TINY = {
    "config": "configs/model_free.yaml",
    "environment.environments-per-teacher": 4,
    "environment.episode-steps": 20,
    "sac.actor-hidden-dim": 8,
    "sac.critic-hidden-dim": 8,
    "sac.critic_batch_size": 8,
    "sac.actor-batch-size": 8,
    "sac.n-warmup-steps": 32,
    # As large for every length, so that they all have the same programs.
    "sac.replay-capacity": STEPS,
    "training.extra-rounds": 0,
    "training.steps-per-teacher": STEPS,
    "training.log-frequency": 32,
    "training.eval-frequency": 64,
    "training.eval-episodes": 3,
    "training.final-eval-episodes": 5,
    "training.checkpoint-frequency": 128,
    "training.tensorboard-teachers": 1,
}
TAGS = {"critic_loss", "actor_loss", "alpha", "q_value", "entropy", "episode_reward", "episode_length"}


def command_of(*arguments, pass_return=-1e6):
    """Returns the command that runs the script on the drones of the working directory."""
    options = {**TINY, "training.pass-return": pass_return, "dynamics-dir": "dynamics", "device": "cpu"}
    return [sys.executable, str(SCRIPT), *(f"--{name}={value}" for name, value in options.items()), *arguments]


def train(directory, *arguments, pass_return=-1e6):
    """Runs the script in `directory`, and returns the finished process."""
    command = command_of(*arguments, pass_return=pass_return)
    return subprocess.run(command, capture_output=True, text=True, cwd=directory, check=False)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("training")
    sampling.write_drones(directory / "dynamics", Config().sampling, 3)
    return directory


@pytest.fixture(scope="module")
def finished(directory):
    return train(directory)


@pytest.fixture(scope="module")
def run(directory, finished):
    assert finished.returncode == 0, finished.stderr
    return directory / "experiments" / "pre_training"


@pytest.fixture(scope="module")
def results(run):
    return json.loads((run / "results.json").read_text())


def test_the_output_describes_the_training(finished):
    for expected in ("replay", "compiled in", "passing 3/3", "3 of 3 passed", "mass [kg]", "tensorboard --logdir"):
        assert expected in finished.stdout
    assert "warning" not in finished.stderr.lower()


def test_results_describe_the_run_and_every_teacher(results):
    assert results["run"]["status"] == "finished"
    assert results["run"]["step"] == STEPS
    assert results["run"]["config"]["training"]["steps_per_teacher"] == STEPS
    assert {"jax", "flax", "optax", "orbax-checkpoint", "python"} <= results["run"]["versions"].keys()
    assert {"compiling", "training", "evaluating"} == results["run"]["timings"].keys()
    assert results["run"]["device"]
    assert results["run"]["rounds"] == [{"teacher_ids": [0, 1, 2], "steps": STEPS, "updates": 56}]
    assert [teacher["teacher_id"] for teacher in results["teachers"]] == [0, 1, 2]
    for teacher in results["teachers"]:
        assert teacher["drone"] == f"{teacher['teacher_id']:04d}.json"
        assert teacher["passed"] is True
        assert 0 < teacher["episode_length"] <= 20
        assert 0 <= teacher["share_terminated"] <= 1
        assert teacher["best_step"] <= STEPS
        assert np.isfinite(teacher["stochastic_mean_return"])
        assert teacher["stochastic_mean_return"] != teacher["mean_return"]
        for name in ("thrust_to_weight", "torque_to_inertia", "mass", "best_eval_reward", "mean_return", "std_return"):
            assert np.isfinite(teacher[name])


def test_results_agree_with_the_drones(directory, results):
    for teacher in results["teachers"]:
        metadata = json.loads((directory / "dynamics" / teacher["drone"]).read_text())["metadata"]
        for name in ("thrust_to_weight", "torque_to_inertia", "mass"):
            assert teacher[name] == pytest.approx(metadata[name], rel=1e-12)


def test_plain_orbax_opens_the_kept_actors(run, results):
    for teacher in results["teachers"]:
        with ocp.StandardCheckpointer() as checkpointer:
            tree = checkpointer.restore((run / teacher["final_path"]).absolute())
        assert tree["teacher_id"].tolist() == [0, 1, 2]
        assert tree["actor"]["hidden_0"]["kernel"].shape == (3, 26, 8)
        assert tree["actor"]["output"]["bias"].shape == (3, 8)
        assert tree["critic"]["hidden_0"]["kernel"].shape == (3, 2, 30, 8)
        assert np.all(tree["alpha"] > 0)
        row = teacher["teacher_id"]
        assert tree["mean_return"][row] == pytest.approx(teacher["best_eval_reward"])
        assert tree["step"][row] == teacher["best_step"]


def test_the_latest_checkpoint_holds_all_that_learns(run):
    with ocp.StandardCheckpointer() as checkpointer:
        tree = checkpointer.restore((run / "checkpoints" / "latest" / str(STEPS) / "default").absolute())
    # The last of the three is repeated where the cores of the machine do not divide them.
    assert tree["teacher_id"][:3].tolist() == [0, 1, 2]
    assert tree["teachers"]["critic"]["params"]["mlp"]["hidden_0"]["kernel"].shape[1:] == (2, 30, 8)
    assert {"teachers", "episodes", "replay", "keys", "flown", "updates", "active", "teacher_id"} == tree.keys()


def test_settings_and_drones_are_stored_with_the_checkpoints(directory, run):
    assert "steps_per_teacher: 256" in (run / "checkpoints" / "config.yaml").read_text()
    for name in ("0000.json", "0001.json", "0002.json"):
        copy = json.loads((run / "checkpoints" / "dynamics" / name).read_text())
        assert copy == json.loads((directory / "dynamics" / name).read_text())


def test_curves_hold_every_teacher(run, results):
    with np.load(run / "curves.npz") as curves:
        assert curves["teacher_id"].tolist() == [0, 1, 2]
        assert curves["eval_step"].tolist() == [32, 64, 128, 192, 256]
        assert curves["train_step"].tolist() == list(range(32, STEPS + 1, 32))
        for tag in TAGS:
            assert curves[f"train_{tag}"].shape == (8, 3)
        for teacher in results["teachers"]:
            best = curves["eval_reward"][:, teacher["teacher_id"]].max()
            assert best == pytest.approx(teacher["best_eval_reward"])


def test_tensorboard_shows_the_first_teachers_and_the_population(run):
    runs = {path.name for path in (run / "logs").iterdir()}
    assert runs == {"teacher_0000", *(f"population_{name}" for name in ("min", "q05", "q50", "q95", "max"))}
    for name in ("teacher_0000", "population_q50"):
        events = EventAccumulator(str(run / "logs" / name)).Reload()
        assert set(events.Tags()["scalars"]) == {"eval/reward", *(f"train/{tag}" for tag in TAGS)}
        assert [point.step for point in events.Scalars("eval/reward")] == [32, 64, 128, 192, 256]


@pytest.mark.slow
def test_the_default_settings_log_what_sac_learns_and_keep_its_critics(directory):
    # Two updates of the quickstart's settings, and their own horizon.
    command = [sys.executable, str(SCRIPT), "--config", "configs/quickstart.yaml", "--num-teachers", "2"]
    settings = {
        "training.steps-per-teacher": 1600,
        "training.log-frequency": 800,
        "training.eval-frequency": 1600,
        "training.eval-episodes": 2,
        "training.final-eval-episodes": 2,
        "training.extra-rounds": 0,
        "training.pass-return": -1e6,
        "dynamics-dir": "dynamics",
        "output-dir": "quick",
        "device": "cpu",
    }
    command += [f"--{name}={value}" for name, value in settings.items()]
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory, check=False)
    assert done.returncode == 0, done.stderr
    run = directory / "quick"
    events = EventAccumulator(str(run / "logs" / "teacher_0000")).Reload()
    assert set(events.Tags()["scalars"]) == {"eval/reward", *(f"train/{tag}" for tag in TAGS)}
    with np.load(run / "curves.npz") as curves:
        for tag in TAGS:
            assert curves[f"train_{tag}"].shape == (2, 2)
        for tag in TAGS - {"episode_reward", "episode_length"}:
            assert np.all(np.isfinite(curves[f"train_{tag}"]))
    results = json.loads((run / "results.json").read_text())
    for teacher in results["teachers"]:
        assert np.isfinite(teacher["stochastic_mean_return"])
    with ocp.StandardCheckpointer() as checkpointer:
        best = checkpointer.restore((run / results["teachers"][0]["final_path"]).absolute())
        latest = checkpointer.restore((run / "checkpoints" / "latest" / "1600" / "default").absolute())
    assert best["critic"]["hidden_0"]["kernel"].shape == (2, 2, 36, 32)
    assert best["alpha"].shape == (2,)
    assert latest["teachers"]["target_critic"]["params"]["mlp"]["hidden_0"]["kernel"].shape == (2, 2, 36, 32)
    assert "replay" not in latest


@pytest.mark.slow
def test_evaluate_repeats_the_final_evaluation_and_another_seed_does_not(directory, run, results):
    def evaluate(*arguments):
        command = [sys.executable, "-m", "raptor_jax.cli", "evaluate", str(run), "--device", "cpu"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=directory, check=False)
        assert done.returncode == 0, done.stderr
        return [t["mean_return"] for t in json.loads((directory / "judged.json").read_text())["teachers"]]

    judged = [teacher["mean_return"] for teacher in results["teachers"]]
    assert evaluate("--json", "judged.json") == pytest.approx(judged, rel=1e-5)
    assert evaluate("--json", "judged.json", "--seed", "1") != pytest.approx(judged, rel=1e-5)


@pytest.mark.slow
def test_evaluate_compares_with_the_foundation_policy(directory, run):
    command = [
        sys.executable,
        "-m",
        "raptor_jax.cli",
        "evaluate",
        str(run),
        "--policy",
        "foundation",
        "--device",
        "cpu",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory, check=False)
    assert done.returncode == 0, done.stderr
    assert "higher than the foundation policy on" in done.stdout


def test_inspect_shows_the_run(directory, run):
    command = [sys.executable, "-m", "raptor_jax.cli", "inspect", str(run)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory, check=False)
    assert done.returncode == 0, done.stderr
    assert "actor/hidden_0/kernel" in done.stdout
    assert "(3, 26, 8)" in done.stdout


@pytest.mark.slow
def test_the_exit_status_reports_a_teacher_that_does_not_pass_and_the_old_run_is_kept(directory, run, results):
    assert train(directory, pass_return=1e6).returncode == 2
    again = train(directory, "--overwrite", pass_return=1e6)
    assert again.returncode == 3, again.stderr
    assert "0 of 3 passed" in again.stdout
    old = run.with_name("pre_training.previous-1")
    assert json.loads((old / "results.json").read_text()) == results
    # Later tests of this module read the first run.
    run.rename(run.with_name("second"))
    old.rename(run)


@pytest.mark.slow
def test_ctrl_c_finishes_the_chunk_saves_and_exits_with_its_own_status(directory, finished):
    endless = ("--output-dir=endless", "--training.steps-per-teacher=1000000000")
    process = subprocess.Popen(
        command_of(*endless), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=directory
    )
    evaluations = 0
    for line in process.stdout:
        evaluations += line.startswith("step")
        if evaluations == 3:
            break
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 4, errors
    assert errors == ""
    results = json.loads((directory / "endless" / "results.json").read_text())
    assert results["run"]["status"] == "interrupted"
    step = results["run"]["step"]
    assert step >= 128
    assert f"stopped at step {step:,}; continue with the same command and --resume" in said
    for kind in ("latest", "best"):
        assert (directory / "endless" / "checkpoints" / kind / str(step)).is_dir()


def arrays_of(run):
    """Returns everything that a run learned and recorded, by name."""
    step = json.loads((run / "results.json").read_text())["run"]["step"]
    trees = {}
    for kind in ("best", "latest"):
        with ocp.StandardCheckpointer() as checkpointer:
            trees[kind] = checkpointer.restore((run / "checkpoints" / kind / str(step) / "default").absolute())
    with np.load(run / "curves.npz") as curves:
        trees["curves"] = dict(curves)
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(trees)}


def stop_after_128_steps(directory, *arguments):
    """Runs the script until it has evaluated at step 128, and asks it to stop."""
    command = command_of(*arguments)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=directory)
    for line in process.stdout:
        if line.startswith("step       128"):
            break
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 4, errors


@pytest.fixture(scope="module")
def stopped(directory, finished):
    """The run of `finished`, stopped after 128 of its steps or a little later."""
    stop_after_128_steps(directory, "--output-dir=stopped")
    return directory / "stopped"


def copy_of(stopped, name):
    return shutil.copytree(stopped, stopped.with_name(name))


@pytest.mark.slow
def test_a_resumed_run_ends_bit_for_bit_like_one_that_was_never_stopped(directory, run, stopped):
    resumed = copy_of(stopped, "resumed")
    done = train(directory, "--output-dir=resumed", "--resume")
    assert done.returncode == 0, done.stderr
    assert "resumed from step " in done.stdout
    expected, found = arrays_of(run), arrays_of(resumed)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(array, found[name], err_msg=name)
    before, after = (json.loads((path / "results.json").read_text()) for path in (run, resumed))
    assert before["teachers"] == after["teachers"]
    assert before["run"]["rounds"] == after["run"]["rounds"]


@pytest.mark.slow
def test_a_replay_that_was_not_saved_is_refilled(directory, finished):
    options = ("--output-dir=refilled", "--training.checkpoint-replay=never")
    stop_after_128_steps(directory, *options)
    done = train(directory, *options, "--resume")
    assert done.returncode == 0, done.stderr
    step = re.search(r"resumed from step (\d+)", done.stdout).group(1)
    assert f"refilled the replay with {step} or more" in done.stdout
    arrays = arrays_of(directory / "refilled")
    assert arrays["['latest']['flown']"] > STEPS / TINY["environment.environments-per-teacher"]
    assert not [name for name in arrays if "replay" in name]


@pytest.mark.slow
def test_another_length_and_other_logging_may_be_resumed(directory, stopped):
    copy_of(stopped, "longer")
    options = ("--training.steps-per-teacher=320", "--training.eval-frequency=32")
    done = train(directory, "--output-dir=longer", "--resume", *options)
    assert done.returncode == 0, done.stderr
    results = json.loads((directory / "longer" / "results.json").read_text())
    assert results["run"]["step"] == results["run"]["rounds"][0]["steps"] == 320


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "key"),
    [
        (["--sac.critic-hidden-dim=16"], "sac.critic_hidden_dim 16 (was 8)"),
        (["--sac.gamma=0.9", "--training.seed=3"], "sac.gamma 0.9 (was 0.98), training.seed 3 (was 0)"),
        (["--num-teachers=2"], "other drones: 0002"),
    ],
)
def test_another_run_is_not_resumed(directory, stopped, options, key):
    done = train(directory, "--output-dir=stopped", "--resume", *options)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert key in line


def test_nothing_to_resume(directory, finished):
    done = train(directory, "--output-dir=nothing", "--resume")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "holds no run to resume" in done.stderr


def close_to(run, other, rtol=1e-3):
    """Compares what two runs recorded; another number of teachers in a product rounds otherwise."""
    with np.load(run / "curves.npz") as expected, np.load(other / "curves.npz") as found:
        for name in expected.files:
            np.testing.assert_allclose(found[name], expected[name], rtol=rtol, atol=rtol, err_msg=name)


def devices(count):
    return {**os.environ, "JAX_NUM_CPU_DEVICES": str(count)}


@pytest.mark.slow
def test_four_devices_train_what_one_does_and_resume_from_each_other(directory, run, stopped):
    command = command_of("--output-dir=on_four")
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory, env=devices(4), check=False)
    assert done.returncode == 0, done.stderr
    assert "each of 4 cpu" in done.stdout
    close_to(run, directory / "on_four")
    # Three teachers and one that fills the fourth device; a single device goes on with the three.
    more = ("--training.steps-per-teacher=320", "--resume")
    command = command_of("--output-dir=on_four", *more)
    assert subprocess.run(command, cwd=directory, env=devices(1), check=False).returncode == 0
    copy_of(stopped, "from_one_to_four")
    command = command_of("--output-dir=from_one_to_four", "--resume")
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory, env=devices(4), check=False)
    assert done.returncode == 0, done.stderr
    close_to(run, directory / "from_one_to_four")


@pytest.mark.slow
def test_two_processes_train_what_one_does(directory, run):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    command = command_of("--output-dir=by_two", "--distributed")
    processes = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=directory,
            env={
                **devices(1),
                "JAX_COORDINATOR_ADDRESS": f"localhost:{port}",
                "JAX_NUM_PROCESSES": "2",
                "JAX_PROCESS_ID": str(number),
            },
        )
        for number in range(2)
    ]
    said = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "3 of 3 passed" in said[0][0]
    assert "passed" not in said[1][0]
    close_to(run, directory / "by_two")
    # One process goes on with what two have written.
    assert train(directory, "--output-dir=by_two", "--training.steps-per-teacher=320", "--resume").returncode == 0


@pytest.mark.slow
def test_a_slice_of_the_teachers_is_trained_as_among_all(directory, run):
    done = train(directory, "--output-dir=slice", "--teachers=1:3")
    assert done.returncode == 0, done.stderr
    results = json.loads((directory / "slice" / "results.json").read_text())
    assert [teacher["teacher_id"] for teacher in results["teachers"]] == [1, 2]
    with np.load(run / "curves.npz") as whole, np.load(directory / "slice" / "curves.npz") as part:
        assert part["teacher_id"].tolist() == [1, 2]
        np.testing.assert_allclose(part["eval_reward"], whole["eval_reward"][:, 1:], rtol=1e-3, atol=1e-3)
