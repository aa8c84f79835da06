"""Kills, signals and faults of the disk: a run resumes to the same numbers, or ends with a one-line error."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.config import build
from raptor_jax.errors import UserError
from raptor_jax.population import sac as population
from raptor_jax.population import sharding
from raptor_jax.runs import checkpoints, layout
from raptor_jax.runs import directory as run_directory
from raptor_jax.runs.curves import MOST_POINTS, Curves
from raptor_jax.training import rounds
from raptor_jax.utils.files import write_json
from tests.runs.builder import results_of
from validation import faults

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

STEPS = faults.RUNS["model_free"]["training.steps-per-teacher"]


@pytest.fixture(scope="module", autouse=True)
def programs_are_traced_once():
    """Lets runs with the same settings share their compiled programs, which are most of the time of so small a run."""
    prepare, start_compiling, made = rounds.prepare, sharding.start_compiling, {}

    def prepare_once(everyone, attempt, rows, *beginning):
        key = (everyone.config, attempt, rows.tobytes(), everyone.teacher_ids.tobytes())
        if key not in made:
            made[key] = prepare(everyone, attempt, rows, *beginning)
        return made[key]

    def compile_evaluation_once(pool, mesh, function, *arguments, **options):
        if getattr(function, "__name__", "") not in ("deterministic", "stochastic"):
            return start_compiling(pool, mesh, function, *arguments, **options)
        key = function.__name__ + str(sharding.shapes(mesh, arguments))
        if key not in made:
            made[key] = start_compiling(pool, mesh, function, *arguments, **options)
        return made[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "prepare", prepare_once)
        patch.setattr(sharding, "start_compiling", compile_evaluation_once)
        yield


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("faults")
    faults.prepare(directory)
    return directory


@pytest.fixture(scope="module")
def undisturbed(directory):
    assert train(directory, "undisturbed") == exit_status.PASSED
    return directory / "undisturbed"


@pytest.fixture
def copy(directory, undisturbed):
    """A copy of the undisturbed run, to be damaged."""
    run = directory / "copy"
    shutil.copytree(undisturbed, run)
    yield run
    shutil.rmtree(run)


def arguments_of(directory, output_dir, *more):
    return faults.arguments_of(directory, "model_free", str(output_dir), *more)


def train(directory, output_dir, *more):
    return cli.main(arguments_of(directory, output_dir, *more))


@pytest.fixture
def resumed(directory, undisturbed, capsys):
    """A function that resumes a run, which must end like the undisturbed one; returns what is printed."""

    def run(output_dir) -> str:
        capsys.readouterr()
        assert train(directory, output_dir, "--resume") == exit_status.PASSED
        shown = capsys.readouterr()
        assert shown.err == ""
        assert faults.differences(directory / output_dir, undisturbed) == []
        return shown.out

    return run


def without_newest(run):
    """Deletes the newest checkpoint; returns the step of the one before it."""
    newest, older, *_ = checkpoints.resumable_steps(run)
    shutil.rmtree(run / "checkpoints" / "latest" / str(newest))
    return older


def at_step(monkeypatch, step, do):
    """Calls `do` once, when the curves get their training point at a step."""
    add = Curves.add

    def add_and_do(curves, group, at, values):
        if group == "train" and at == step and not done:
            done.append(at)
            do()
        return add(curves, group, at, values)

    done = []
    monkeypatch.setattr(Curves, "add", add_and_do)


def stop_at(monkeypatch, step, number=signal.SIGTERM):
    """Sends this process a signal when the curves get their training point at a step."""
    at_step(monkeypatch, step, lambda: os.kill(os.getpid(), number))


# Kills


@pytest.mark.parametrize(
    "moment",
    [faults.after(1.0), faults.nth(3, faults.inside_a_save), faults.nth(9, faults.inside_a_write)],
    ids=["anywhere", "inside a save", "inside a results write"],
)
def test_killed_run_resumes_to_the_same_numbers(directory, undisturbed, moment):
    where, wrong = faults.survive(directory, "model_free", moment, undisturbed)
    assert where in faults.PLACES
    assert not wrong


def test_comparison_detects_a_single_bit(undisturbed, copy):
    assert faults.differences(copy, undisturbed) == []
    with np.load(copy / "curves.npz") as file:
        arrays = dict(file)
    arrays["eval_reward"][1, 1] = np.nextafter(arrays["eval_reward"][1, 1], np.float32(np.inf))
    np.savez_compressed(copy / "curves.npz", **arrays)
    assert faults.differences(copy, undisturbed) == ["curves eval_reward"]


def test_run_killed_before_training_starts_from_the_beginning(directory, resumed):
    drones = directory / "unborn" / "checkpoints" / "dynamics"
    drones.mkdir(parents=True)
    (directory / "unborn" / layout.LOCK).touch()
    # A drone that this run does not have.
    (drones / "0007.json").write_text("{")
    assert "starts from the beginning" in resumed("unborn")
    assert len(list(drones.iterdir())) == faults.DRONES


def test_incomplete_first_checkpoint_is_ignored(copy, resumed):
    for step in checkpoints.resumable_steps(copy):
        shutil.rmtree(copy / "checkpoints" / "latest" / str(step))
    assert "no checkpoint to resume from yet: starts from the beginning" in resumed("copy")


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_request_saves_and_can_be_resumed(directory, resumed, monkeypatch, capsys, number):
    run = directory / number.name
    with monkeypatch.context() as patch:
        stop_at(patch, 320, number)
        assert train(directory, run) == exit_status.STOPPED
    shown = capsys.readouterr()
    assert f"{number.name}: saves and stops after this chunk" in shown.out
    assert "stopped at step 320; continue with the same command and --resume" in shown.out
    assert shown.err == ""
    assert results_of(run)["run"]["status"] == "interrupted"
    assert checkpoints.resumable_steps(run)[0] == 320
    resumed(run)


def test_second_signal_ends_the_run_at_once(directory):
    run = directory / "twice"
    endless = ["--training.steps-per-teacher=1000000000", f"--sac.replay-capacity={STEPS}"]
    command = faults.command(directory, "model_free", run.name, *endless)
    process = subprocess.Popen(command, env=faults.environment())
    # After the first evaluations there is a checkpoint, and another one follows every second evaluation.
    while not checkpoints.resumable_steps(run) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    # Signals that come together are one; then it stopped as it was asked to.
    assert process.wait(timeout=120) in (-signal.SIGTERM, exit_status.STOPPED)
    step = checkpoints.resumable_steps(run)[0]
    assert checkpoints.load_notes(run, step, checkpoints.Notes)
    assert all(checkpoints.examine(layout.checkpoint(run, kind, step), 0).has_digest for kind in layout.KINDS)
    assert checkpoints.load_best(run, step)
    assert checkpoints.load_latest(run, step)


def test_a_replay_that_was_not_saved_is_refilled(directory, monkeypatch, capsys):
    never = "--training.checkpoint-replay=never"
    with monkeypatch.context() as patch:
        stop_at(patch, 320)
        assert train(directory, "refilled", never) == exit_status.STOPPED
    assert train(directory, "refilled", never, "--resume") == exit_status.PASSED
    assert "refilled the replay with 320 or more" in capsys.readouterr().out
    latest = checkpoints.load_latest(directory / "refilled", STEPS)
    assert latest["flown"] > STEPS / faults.RUNS["model_free"]["environment.environments-per-teacher"]
    assert "replay" not in latest


# Faults of the disk


@pytest.fixture
def small_disk(directory):
    """A disk that has room for the beginning of a run."""
    place = directory / "small"
    place.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=900k", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"mounting a tmpfs needs root: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def remount(disk, option):
    subprocess.run(["mount", "-o", f"remount,{option}", disk], check=True)


@pytest.mark.mount
def test_full_disk_is_reported_and_the_run_can_be_resumed(directory, small_disk, resumed, refused, monkeypatch):
    def fill():
        with pytest.raises(OSError, match="No space left"), (small_disk / "ballast").open("wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass

    with monkeypatch.context() as patch:
        at_step(patch, 320, fill)
        line = refused(*arguments_of(directory, small_disk / "run"))
    assert "No space left" in line or "cannot be written" in line
    assert "make room and continue with --resume" in line
    (small_disk / "ballast").unlink()
    remount(small_disk, "size=16m")
    resumed(small_disk / "run")


@pytest.mark.mount
def test_full_disk_is_reported_before_training(directory, small_disk, refused):
    (small_disk / "ballast").write_bytes(bytes(850_000))
    assert "its disk has" in refused(*arguments_of(directory, small_disk / "run"))
    assert not (small_disk / "run" / layout.RESULTS).exists()


@pytest.mark.mount
@pytest.mark.parametrize("more", [[], ["--resume"]], ids=["a new run", "a resumed one"])
def test_read_only_disk_is_reported(directory, undisturbed, small_disk, refused, more):
    if more:
        remount(small_disk, "size=16m")
        shutil.copytree(undisturbed, small_disk / "run")
    remount(small_disk, "ro")
    line = refused(*arguments_of(directory, small_disk / "run", *more))
    assert "cannot be written: Read-only file system" in line


def newest_data(run, kind):
    """Returns the largest file with arrays in the newest checkpoint of a kind."""
    files = (run / "checkpoints" / kind / str(STEPS) / "default").rglob("d/*")
    return max(files, key=lambda path: path.stat().st_size)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["best", "latest"])
@pytest.mark.parametrize("damage", [truncate, Path.unlink, flip_a_bit])
def test_damaged_checkpoint_falls_back_to_the_previous_one(copy, resumed, kind, damage):
    damage(newest_data(copy, kind))
    older = checkpoints.resumable_steps(copy)[1]
    out = resumed("copy")
    assert f"{kind}/{STEPS}/default: damaged checkpoint: " in out
    assert "using the previous one" in out
    assert f"resumed from step {older:,}" in out


def test_damaged_notes_fall_back_to_the_previous_checkpoint(copy, resumed):
    notes = copy / "checkpoints" / "latest" / str(STEPS) / "notes" / "metadata"
    changed = notes.read_text().replace('"began": 0', '"began": 8')
    assert changed != notes.read_text()
    notes.write_text(changed)
    assert "the content differs from what was saved" in resumed("copy")


def test_run_without_undamaged_checkpoint_is_refused_and_unchanged(directory, copy, refused):
    for step in checkpoints.resumable_steps(copy):
        truncate(copy / "checkpoints" / "latest" / str(step) / "notes" / "metadata")
    before, results = set(copy.rglob("*")), results_of(copy)
    assert "all of its checkpoints are damaged" in refused(*arguments_of(directory, "copy", "--resume"))
    assert results_of(copy) == results
    assert before <= set(copy.rglob("*"))


@pytest.mark.parametrize("damage", [truncate, Path.unlink])
def test_damaged_curves_start_again(directory, undisturbed, copy, capsys, damage):
    older = without_newest(copy)
    damage(copy / "curves.npz")
    assert train(directory, "copy", "--resume") == exit_status.PASSED
    assert f"the curves start again at step {older:,}" in capsys.readouterr().out
    assert all(name.startswith("curves ") for name in faults.differences(copy, undisturbed))
    with np.load(copy / "curves.npz") as curves:
        assert curves["train_step"].tolist() == list(range(older + 32, STEPS + 1, 32))


@pytest.mark.parametrize("more", ["--resume", "--overwrite"])
def test_output_directory_is_locked(directory, copy, refused, more):
    with run_directory.locked(copy):
        assert "another run is writing there" in refused(*arguments_of(directory, "copy", more))


def logged(run):
    """Returns the steps of a curve as TensorBoard shows it."""
    return [p.step for p in EventAccumulator(str(run / "logs" / "teacher_0000")).Reload().Scalars("train/alpha")]


@pytest.mark.parametrize("jump", [-1e9, 1e9], ids=["back", "ahead"])
def test_clock_jumps_have_no_effect(undisturbed, copy, resumed, monkeypatch, jump):
    without_newest(copy)
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + jump)
    resumed("copy")
    assert logged(copy) == logged(undisturbed)


def test_logs_deleted_during_a_run_continue(directory, undisturbed, monkeypatch, capsys):
    run = directory / "logs deleted"
    at_step(monkeypatch, 320, lambda: shutil.rmtree(run / "logs"))
    assert train(directory, run) == exit_status.PASSED
    shown = capsys.readouterr()
    assert "files were deleted; TensorBoard continues in new files from step 320" in shown.out
    assert shown.err == ""
    assert faults.differences(run, undisturbed) == []
    assert logged(run) == list(range(320, STEPS + 1, 32))


def test_logs_deleted_between_runs_start_again(copy, resumed):
    shutil.rmtree(copy / "logs")
    older = without_newest(copy)
    resumed("copy")
    assert logged(copy) == list(range(older + 32, STEPS + 1, 32))


# What a resume may change


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--sac.critic-hidden-dim=16"], "sac.critic_hidden_dim 16 (was 8)"),
        (["--sac.gamma=0.9", "--training.seed=3"], "sac.gamma 0.9 (was 0.98), training.seed 3 (was 0)"),
        (["--num-teachers=2"], "cannot resume with other drones: 0002"),
    ],
)
def test_resume_refuses_other_settings_and_drones(directory, copy, refused, more, named):
    assert named in refused(*arguments_of(directory, "copy", "--resume", *more))


def test_resume_refuses_a_changed_drone(directory, copy, refused):
    # As if the run had been trained on the same drone with a faster rotor.
    path = copy / "checkpoints" / "dynamics" / "0001.json"
    content = json.loads(path.read_text())
    content["dynamics"]["rotor_time_constants_rising"][0] *= 0.999
    write_json(path, content)
    assert "cannot resume with other drones: 0001" in refused(*arguments_of(directory, "copy", "--resume"))


def test_resumed_run_may_be_longer(directory, copy, capsys):
    end = STEPS + 256
    more = [f"--training.steps-per-teacher={end}", "--training.eval-frequency=128"]
    assert train(directory, "copy", "--resume", *more) == exit_status.PASSED
    assert f"resumed from step {STEPS:,}" in capsys.readouterr().out
    assert results_of(copy)["run"]["step"] == results_of(copy)["run"]["rounds"][0]["steps"] == end
    with np.load(copy / "curves.npz") as curves:
        assert curves["train_step"].tolist() == list(range(32, end + 1, 32))
        assert curves["eval_step"].tolist()[-3:] == [STEPS, STEPS + 128, end]
    assert f"steps_per_teacher: {end}" in (copy / "checkpoints" / "config.yaml").read_text()


def test_resume_without_a_run_is_refused(directory, refused):
    assert "holds no run to resume" in refused(*arguments_of(directory, "nowhere", "--resume"))
    assert not (directory / "nowhere").exists()


# Long runs


def test_memory_files_and_threads_do_not_grow(directory):
    samples = faults.watch(directory, chunks=400)
    half = len(samples) // 2
    first, last = samples[half // 2], samples[-1]
    # The least of each half: a checkpoint that is being written has files and threads of its own.
    for name in ("open_files", "threads"):
        before, after = (min(getattr(sample, name) for sample in part) for part in (samples[:half], samples[half:]))
        # Orbax opens pools of eight at its first savings; a leak in each of these chunks would be 200.
        assert after <= before + 16
    # A leak of one population (50 kB) in each of these 300 chunks would be 15 MB.
    assert last.resident - first.resident < 10e6


def test_finished_run_leaves_no_open_file(directory, copy):
    assert train(directory, copy.name, "--resume") == exit_status.PASSED
    opened = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
    assert not [path for path in opened if path.startswith(str(copy.resolve()))]


def test_curve_points_are_bounded():
    curves = Curves([0], most_steps=10**9)
    kept = [curves.add("train", step, {"x": np.zeros(1)}) for step in range(0, 10**9, 100_000)]
    assert sum(kept) == MOST_POINTS
    assert np.all(np.diff(curves.arrays()["train_step"]) == 500_000)
    # The round that follows begins where this one ended.
    last = int(curves.arrays()["train_step"][-1])
    assert curves.add("train", last, {"x": np.zeros(1)})


def longest(steps, extra_rounds, **more):
    training = {"steps_per_teacher": steps, "extra_rounds": extra_rounds, **more}
    return build({"training": training}, {}, "test")


def test_counters_hold_a_billion_steps():
    windows = longest(10**9, 0)
    model_free = build(windows.model_dump(), {"sac.horizon": 0, "environment.environments_per_teacher": 1}, "test")
    assert 10**9 <= rounds.most_steps(windows) < 2**31
    for plan in population.schedule(windows), population.schedule(model_free):
        assert plan.total_steps < 2**31
        assert plan.chunks * plan.chunk_updates < 2**31


@pytest.mark.parametrize(
    ("steps", "extra_rounds"),
    # Each is less than 2^31 in itself; the rounding up to whole chunks takes it over.
    [(2**31 - 1, 0), (2**29 - 1, 2)],
)
def test_steps_beyond_the_counters_are_refused(steps, extra_rounds):
    chunk = min(steps * 3 // 2, 2**31 - 2)
    config = longest(steps, extra_rounds, log_frequency=chunk, eval_frequency=chunk, checkpoint_frequency=chunk)
    with pytest.raises(UserError, match=r"training.steps_per_teacher: .* exceeds"):
        rounds.most_steps(config)
