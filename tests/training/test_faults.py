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


def train(directory, output_dir, *more):
    return cli.main(faults.arguments_of(directory, "model_free", str(output_dir), *more))


def printed(capsys):
    """Returns what was printed on stdout as one text, and the lines on stderr."""
    shown = capsys.readouterr()
    return shown.out, shown.err.splitlines()


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
    return done


# Kills


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        faults.after(1.0),
        faults.nth(3, faults.inside_a_save),
        faults.nth(9, faults.inside_a_write),
    ],
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


def test_run_killed_before_training_starts_from_the_beginning(directory, undisturbed, capsys):
    run = directory / "unborn"
    (run / "checkpoints" / "dynamics").mkdir(parents=True)
    (run / layout.LOCK).touch()
    # A drone that this run does not have.
    (run / "checkpoints" / "dynamics" / "0007.json").write_text("{")
    assert train(directory, run.name, "--resume") == exit_status.PASSED
    assert "starts from the beginning" in printed(capsys)[0]
    assert faults.differences(run, undisturbed) == []
    assert len(list((run / "checkpoints" / "dynamics").iterdir())) == faults.DRONES


def test_incomplete_first_checkpoint_is_ignored(directory, undisturbed, copy, capsys):
    for step in checkpoints.resumable_steps(copy):
        shutil.rmtree(copy / "checkpoints" / "latest" / str(step))
    assert train(directory, copy.name, "--resume") == exit_status.PASSED
    assert "no checkpoint to resume from yet: starts from the beginning" in printed(capsys)[0]
    assert faults.differences(copy, undisturbed) == []


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_request_saves_and_can_be_resumed(directory, undisturbed, monkeypatch, capsys, number):
    run = directory / number.name
    with monkeypatch.context() as patch:
        at_step(patch, 320, lambda: os.kill(os.getpid(), number))
        assert train(directory, run.name) == exit_status.STOPPED
    out, errors = printed(capsys)
    assert f"{number.name}: saves and stops after this chunk" in out
    assert "stopped at step 320; continue with the same command and --resume" in out
    assert errors == []
    assert json.loads((run / "results.json").read_text())["run"]["status"] == "interrupted"
    assert checkpoints.resumable_steps(run)[0] == 320
    assert train(directory, run.name, "--resume") == exit_status.PASSED
    assert faults.differences(run, undisturbed) == []


@pytest.mark.slow
def test_second_signal_ends_the_run_at_once(directory):
    endless = ["--training.steps-per-teacher=1000000000", f"--sac.replay-capacity={STEPS}"]
    process = subprocess.Popen(
        faults.command(directory, "model_free", "twice", *endless),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=faults.environment(),
    )
    # After the first evaluations there is a checkpoint, and another one follows every second evaluation.
    while not checkpoints.resumable_steps(directory / "twice") and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=120)
    # Signals that come together are one; then it stopped as it was asked to.
    assert process.returncode in (-signal.SIGTERM, exit_status.STOPPED), out
    step = checkpoints.resumable_steps(directory / "twice")[0]
    assert checkpoints.load_notes(directory / "twice", step, checkpoints.Notes)
    assert all(
        checkpoints.examine(layout.checkpoint(directory / "twice", kind, step), 0).has_digest for kind in layout.KINDS
    )
    assert checkpoints.load_best(directory / "twice", step)
    assert checkpoints.load_latest(directory / "twice", step)


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


@pytest.mark.mount
def test_full_disk_is_reported_and_the_run_can_be_resumed(directory, undisturbed, small_disk, monkeypatch, capsys):
    def fill():
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass

    def filling():
        with pytest.raises(OSError, match="No space left"):
            fill()

    with monkeypatch.context() as patch:
        at_step(patch, 320, filling)
        assert train(directory, small_disk / "run") == exit_status.USAGE
    out, errors = printed(capsys)
    assert len(errors) == 1
    assert "No space left" in errors[0] or "cannot be written" in errors[0]
    assert "make room and continue with --resume" in errors[0]
    assert "Traceback" not in out
    (small_disk / "ballast").unlink()
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    assert train(directory, small_disk / "run", "--resume") == exit_status.PASSED
    assert faults.differences(small_disk / "run", undisturbed) == []


@pytest.mark.mount
def test_full_disk_is_reported_before_training(directory, small_disk, capsys):
    (small_disk / "ballast").write_bytes(bytes(850_000))
    assert train(directory, small_disk / "run") == exit_status.USAGE
    out, errors = printed(capsys)
    assert len(errors) == 1
    assert "its disk has" in errors[0]
    assert "step" not in out


@pytest.mark.mount
@pytest.mark.parametrize("more", [[], ["--resume"]], ids=["a new run", "a resumed one"])
def test_read_only_disk_is_reported(directory, undisturbed, small_disk, capsys, more):
    if more:
        subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
        shutil.copytree(undisturbed, small_disk / "run")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert train(directory, small_disk / "run", *more) == exit_status.USAGE
    _, errors = printed(capsys)
    assert len(errors) == 1
    assert "cannot be written: Read-only file system" in errors[0]


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
def test_damaged_checkpoint_falls_back_to_the_previous_one(directory, undisturbed, copy, capsys, kind, damage):
    damage(newest_data(copy, kind))
    older = checkpoints.resumable_steps(copy)[1]
    assert train(directory, copy.name, "--resume") == exit_status.PASSED
    out, errors = printed(capsys)
    assert f"{kind}/{STEPS}/default: damaged checkpoint: " in out
    assert "using the previous one" in out
    assert f"resumed from step {older:,}" in out
    assert errors == []
    assert faults.differences(copy, undisturbed) == []


def test_damaged_notes_fall_back_to_the_previous_checkpoint(directory, undisturbed, copy, capsys):
    notes = copy / "checkpoints" / "latest" / str(STEPS) / "notes" / "metadata"
    changed = notes.read_text().replace('"began": 0', '"began": 8')
    assert changed != notes.read_text()
    notes.write_text(changed)
    assert train(directory, copy.name, "--resume") == exit_status.PASSED
    assert "the content differs from what was saved" in printed(capsys)[0]
    assert faults.differences(copy, undisturbed) == []


def test_run_without_undamaged_checkpoint_is_refused_and_unchanged(directory, copy, capsys):
    for step in checkpoints.resumable_steps(copy):
        truncate(copy / "checkpoints" / "latest" / str(step) / "notes" / "metadata")
    before, results = sorted(path for path in copy.rglob("*")), (copy / "results.json").read_bytes()
    assert train(directory, copy.name, "--resume") == exit_status.USAGE
    _, errors = printed(capsys)
    assert len(errors) == 1
    assert "all of its checkpoints are damaged" in errors[0]
    assert (copy / "results.json").read_bytes() == results
    assert set(before) <= set(copy.rglob("*"))


@pytest.mark.parametrize("damage", [truncate, Path.unlink])
def test_damaged_curves_start_again(directory, undisturbed, copy, capsys, damage):
    shutil.rmtree(copy / "checkpoints" / "latest" / str(STEPS))
    damage(copy / "curves.npz")
    older = checkpoints.resumable_steps(copy)[0]
    assert train(directory, copy.name, "--resume") == exit_status.PASSED
    assert f"the curves start again at step {older:,}" in printed(capsys)[0]
    assert all(name.startswith("curves ") for name in faults.differences(copy, undisturbed))
    with np.load(copy / "curves.npz") as curves:
        assert curves["train_step"].tolist() == list(range(older + 32, STEPS + 1, 32))


def test_output_directory_is_locked(directory, copy, capsys):
    for more in ["--resume"], ["--overwrite"]:
        with run_directory.locked(copy):
            assert train(directory, copy.name, *more) == exit_status.USAGE
        _, errors = printed(capsys)
        assert len(errors) == 1
        assert "another run is writing there" in errors[0]


def scalars(run, name):
    """Returns the steps of a curve as TensorBoard shows it."""
    return [point.step for point in EventAccumulator(str(run / "logs" / "teacher_0000")).Reload().Scalars(name)]


@pytest.mark.parametrize("jump", [-1e9, 1e9], ids=["back", "ahead"])
def test_clock_jumps_have_no_effect(directory, undisturbed, copy, monkeypatch, jump):
    shutil.rmtree(copy / "checkpoints" / "latest" / str(STEPS))
    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() + jump)
    assert train(directory, copy.name, "--resume") == exit_status.PASSED
    assert faults.differences(copy, undisturbed) == []
    assert scalars(copy, "train/alpha") == scalars(undisturbed, "train/alpha")


def test_logs_deleted_during_a_run_continue(directory, undisturbed, monkeypatch, capsys):
    run = directory / "logs deleted"
    at_step(monkeypatch, 320, lambda: shutil.rmtree(run / "logs"))
    assert train(directory, run.name) == exit_status.PASSED
    out, errors = printed(capsys)
    assert "files were deleted; TensorBoard continues in new files from step 320" in out
    assert errors == []
    assert faults.differences(run, undisturbed) == []
    assert scalars(run, "train/alpha") == list(range(320, STEPS + 1, 32))


def test_logs_deleted_between_runs_start_again(directory, undisturbed, copy):
    shutil.rmtree(copy / "logs")
    shutil.rmtree(copy / "checkpoints" / "latest" / str(STEPS))
    older = checkpoints.resumable_steps(copy)[0]
    assert train(directory, copy.name, "--resume") == exit_status.PASSED
    assert faults.differences(copy, undisturbed) == []
    assert scalars(copy, "train/alpha") == list(range(older + 32, STEPS + 1, 32))


# What a resume may change


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("--sac.gamma=0.9", "sac.gamma 0.9 (was 0.98)"),
        ("--sac.critic-hidden-dim=16", "sac.critic_hidden_dim 16 (was 8)"),
        ("--training.seed=1", "training.seed 1 (was 0)"),
        ("--num-teachers=2", "cannot resume with other drones: 0002"),
    ],
)
def test_resume_refuses_other_settings_and_drones(directory, copy, capsys, more, named):
    assert train(directory, copy.name, "--resume", more) == exit_status.USAGE
    _, errors = printed(capsys)
    assert len(errors) == 1
    assert named in errors[0]


def test_resume_refuses_a_changed_drone(directory, copy, capsys):
    # As if the run had been trained on the same drone with a faster rotor.
    path = copy / "checkpoints" / "dynamics" / "0001.json"
    content = json.loads(path.read_text())
    content["dynamics"]["rotor_time_constants_rising"][0] *= 0.999
    write_json(path, content)
    assert train(directory, copy.name, "--resume") == exit_status.USAGE
    assert "cannot resume with other drones: 0001" in printed(capsys)[1][0]


@pytest.mark.slow
def test_resumed_run_may_be_longer(directory, copy, capsys):
    more = [f"--training.steps-per-teacher={STEPS + 256}", "--training.eval-frequency=128"]
    assert train(directory, copy.name, "--resume", *more) == exit_status.PASSED
    assert f"resumed from step {STEPS:,}" in printed(capsys)[0]
    with np.load(copy / "curves.npz") as curves:
        assert curves["train_step"].tolist() == list(range(32, STEPS + 257, 32))
        assert curves["eval_step"].tolist()[-3:] == [STEPS, STEPS + 128, STEPS + 256]
    assert f"steps_per_teacher: {STEPS + 256}" in (copy / "checkpoints" / "config.yaml").read_text()


def test_resume_without_a_run_is_refused(directory, capsys):
    assert train(directory, "nowhere", "--resume") == exit_status.USAGE
    _, errors = printed(capsys)
    assert len(errors) == 1
    assert "holds no run to resume" in errors[0]
    assert not (directory / "nowhere").exists()


# Long runs


@pytest.mark.slow
def test_memory_files_and_threads_do_not_grow(directory):
    samples = faults.watch(directory, chunks=400)
    quarter = len(samples) // 4
    first, last = samples[quarter], samples[-1]
    # The least of each half: a checkpoint that is being written has files and threads of its own.
    for name in ("open_files", "threads"):
        before, after = (
            min(getattr(sample, name) for sample in part) for part in (samples[: 2 * quarter], samples[2 * quarter :])
        )
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
    config = longest(10**9, 0)
    assert 10**9 <= rounds.most_steps(config) < 2**31
    plan = population.schedule(config)
    assert plan.chunks * plan.chunk_updates < 2**31
    config = build(config.model_dump(), {"sac.horizon": 0, "environment.environments_per_teacher": 1}, "test")
    plan = population.schedule(config)
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
