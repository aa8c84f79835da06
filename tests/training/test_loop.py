"""The host loop: divergence, interruption, extra rounds, and the schedule of chunks."""

import io
import itertools
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from raptor_jax import cli, config
from raptor_jax.commands import exit_status
from raptor_jax.config import Config
from raptor_jax.drones import files, sampling
from raptor_jax.population import sac as population
from raptor_jax.population.schedule import is_due
from raptor_jax.runs import checkpoints
from raptor_jax.training import divergence, extra_rounds, loop, rounds
from tests.runs.builder import results_of
from validation import faults
from validation.drones import calm, replaced

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

SHORT = {
    "steps_per_teacher": 128,
    "eval_frequency": 32,
    "final_eval_episodes": 3,
    "checkpoint_frequency": 64,
    "extra_rounds": 0,
    "pass_return": -1e6,
}


def settings(kind, **training):
    """Returns the settings of a short run of this kind, some of `training` replaced."""
    own = {name.replace("-", "_"): value for name, value in faults.RUNS[kind].items() if name != "config"}
    own |= {f"training.{name}": value for name, value in (SHORT | training).items()}
    return config.load(faults.RUNS[kind].get("config", config.DEFAULT_CONFIG), own)


CONFIG = settings("model_free")


@pytest.fixture
def drones(tmp_path):
    sampling.write_drones(tmp_path / "dynamics", Config().sampling, 3)
    return files.load_directory(tmp_path / "dynamics")


def train(settings, drones, run, **options):
    """Returns how the training ended, and what it printed."""
    console = Console(record=True, file=io.StringIO(), width=200)
    ending = loop.train(loop.Job(settings, drones, np.arange(len(drones)), run), console, **options)
    return ending, console.export_text()


def of_teachers(run, name):
    """Returns a result of every teacher."""
    return [teacher[name] for teacher in results_of(run)["teachers"]]


def with_train(monkeypatch, change):
    """Lets `change(train, call, population, drones)` stand in for every chunk of training; calls count from 1."""
    prepare = rounds.prepare

    def prepared(*arguments):
        now, calls = prepare(*arguments), itertools.count(1)

        def run(population, drones, updates):
            return change(lambda *state: now.programs.train(*state, updates), next(calls), population, drones)

        return now._replace(programs=now.programs._replace(train=run))

    monkeypatch.setattr(rounds, "prepare", prepared)
    monkeypatch.setattr(rounds.Programs, "temporary_bytes", 0)


def with_log_alpha(population, value):
    """Returns the population with a temperature of the second teacher."""
    teachers = population.teachers
    return population.replace(teachers=teachers.replace(log_alpha=teachers.log_alpha.at[1].set(value)))


def test_teacher_that_diverges_once_is_restarted_alone(tmp_path, drones, monkeypatch):
    def break_the_second(program, call, population, drones):
        if call != 2:
            return program(population, drones)
        rows = population.replay.rows.at[1, 0].set(jnp.nan)
        broken = with_log_alpha(population, jnp.nan).replace(replay=population.replay.replace(rows=rows))
        after, metrics = program(broken, drones)
        # The state before the chunk was broken, too, so the rollback gets a whole one.
        return with_log_alpha(after, jnp.log(0.2)), metrics

    train(CONFIG, drones, tmp_path / "calm")
    with_train(monkeypatch, break_the_second)
    _, printed = train(CONFIG, drones, tmp_path / "broken")
    calm, broken = (results_of(tmp_path / name)["teachers"] for name in ("calm", "broken"))
    assert of_teachers(tmp_path / "broken", "restarts") == [0, 1, 0]
    assert of_teachers(tmp_path / "broken", "frozen_at_step") == [None, None, None]
    assert [calm[0], calm[2]] == [broken[0], broken[2]]
    assert "teacher 0001 (0001.json): its numbers became non-finite before step 96" in printed
    with np.load(tmp_path / "broken" / "curves.npz") as curves:
        assert np.isfinite(curves["train_critic_loss"][curves["train_step"] > 96]).all()


def test_teacher_that_keeps_diverging_is_frozen(tmp_path, drones, monkeypatch):
    create = population.create
    monkeypatch.setattr(population, "create", lambda *a, **named: with_log_alpha(create(*a, **named), jnp.nan))
    _, printed = train(CONFIG, drones, tmp_path / "run")
    assert of_teachers(tmp_path / "run", "frozen_at_step") == [None, 128, None]
    assert of_teachers(tmp_path / "run", "restarts") == [0, divergence.RESTARTS, 0]
    assert of_teachers(tmp_path / "run", "passed")[::2] == [True, True]
    assert "teacher 0001 (0001.json): its numbers became non-finite" in printed


def test_resume_restores_restarts_and_frozen_teachers(tmp_path, drones, monkeypatch):
    create = population.create
    monkeypatch.setattr(population, "create", lambda *a, **named: with_log_alpha(create(*a, **named), jnp.nan))
    # Stopped after two rollbacks, then after the teacher was frozen.
    for length, restarts, frozen in ((64, 2, None), (160, divergence.RESTARTS, 128), (192, divergence.RESTARTS, 128)):
        longer = settings("model_free", steps_per_teacher=length)
        _, printed = train(longer, drones, tmp_path / "run", resume=length > 64)
        assert of_teachers(tmp_path / "run", "restarts") == [0, restarts, 0]
        assert of_teachers(tmp_path / "run", "frozen_at_step") == [None, frozen, None]
    assert "non-finite" not in printed


def test_interrupted_run_can_be_inspected(tmp_path, drones, monkeypatch, capsys):
    def interrupt_the_third(program, call, population, drones):
        after = program(population, drones)
        if call == 3:
            # As inside the call: the donated population is gone, and the new one not yet there.
            raise KeyboardInterrupt
        return after

    run = tmp_path / "run"
    with_train(monkeypatch, interrupt_the_third)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, drones, run)
    about = results_of(run)["run"]
    assert (about["status"], about["step"]) == ("interrupted", 96)
    assert of_teachers(run, "passed") == [None, None, None]
    assert None not in of_teachers(run, "best_step")
    with np.load(run / "curves.npz") as curves:
        assert curves["eval_step"].tolist() == [32, 64, 96]
    assert cli.main(["inspect", str(run)]) == exit_status.PASSED
    shown = capsys.readouterr().out
    for expected in ("interrupted, step 96", "not evaluated", "actor/hidden_0/kernel", "(3, 26, 8)"):
        assert expected in shown


def test_drones_keep_their_names(tmp_path, drones, numbers):
    for file, name in zip(drones, ("crazyflie", "2_inch", "racer"), strict=True):
        file.path.rename(file.path.with_name(f"{name}.json"))
    named, run = files.load_directory(tmp_path / "dynamics"), tmp_path / "run"
    assert train(CONFIG, named, run)[0] is loop.Ending.PASSED
    assert of_teachers(run, "drone") == [file.path.name for file in named]
    again = numbers("evaluate", run)["teachers"]
    assert [teacher["drone"] for teacher in again] == of_teachers(run, "drone")
    assert [teacher["mean_return"] for teacher in again] == pytest.approx(of_teachers(run, "mean_return"), rel=1e-5)


@pytest.mark.parametrize(
    ("environments", "interval", "steps", "log"),
    [(1, 1, 100, 7), (4, 2, 1000, 64), (16, 2, 40_000, 4_000), (3, 2, 50, 1)],
)
def test_schedule_rounds_up_to_a_whole_chunk(environments, interval, steps, log):
    overrides = {
        "environment.environments_per_teacher": environments,
        "sac.horizon": 0,
        "sac.actor_update_interval": interval,
        "sac.n_warmup_steps": 10,
        "training.steps_per_teacher": steps,
        "training.log_frequency": log,
    }
    plan = population.schedule(config.build({}, overrides, "test"))
    assert steps <= plan.total_steps < steps + plan.chunk_steps
    assert plan.warmup_steps >= 10
    assert plan.chunk_steps % (environments * interval) == 0
    assert plan.chunk_steps <= max(log, environments * interval)


@pytest.mark.parametrize(
    ("before", "after", "expected"), [(0, 9, False), (9, 10, True), (10, 19, False), (5, 35, True), (10, 10, False)]
)
def test_something_is_due_at_every_multiple(before, after, expected):
    assert is_due(before, after, 10) is expected


def test_extra_rounds_train_failing_teachers_further_and_for_longer(tmp_path, drones, monkeypatch):
    # The second teacher's drone is blown away; the others start level and at rest.
    files = [file._replace(drone=calm(file.drone)) for file in drones]
    blown_away = replaced(files[1].drone, disturbances__random_force__std=np.float64(1e4))
    files[1] = files[1]._replace(drone=blown_away)
    windows = settings("windows", extra_rounds=2, pass_return=-50, refine_below=-1e6)
    prepare, prepared = rounds.prepare, []
    monkeypatch.setattr(rounds, "prepare", lambda *arguments: prepared.append(prepare(*arguments)) or prepared[-1])
    run = tmp_path / "run"
    ending, printed = train(windows, files, run)
    assert ending is loop.Ending.NOT_PASSED
    rounds_of = [(r["teacher_ids"], r["steps"]) for r in results_of(run)["run"]["rounds"]]
    assert rounds_of == [([0, 1, 2], 128), ([1], 128), ([1], 256)]
    # A program serves every round of as many teachers, however long.
    assert prepared[2].programs.train.run is prepared[1].programs.train.run is not prepared[0].programs.train.run
    assert of_teachers(run, "rounds") == [1, 3, 1]
    assert of_teachers(run, "passed") == [True, False, True]
    assert "2 of 3 passed" in printed
    with np.load(run / "curves.npz") as curves:
        longer = np.arange(curves["eval_step"].size) > np.argmax(curves["eval_step"] == 128)
        assert np.all(np.isfinite(curves["eval_reward"][longer, 1]))
        assert np.all(np.isnan(curves["eval_reward"][longer][:, [0, 2]]))
        # It continues from the kept actor.
        assert curves["eval_reward"][longer, 1][0] == np.max(curves["eval_reward"][~longer, 1])
        assert curves["eval_step"].tolist() == sorted(curves["eval_step"])
    step, tree = checkpoints.load_best(run)
    assert step == results_of(run)["run"]["step"] == 128 + 128 + 256
    assert tree["teacher_id"].tolist() == [0, 1, 2]


def test_teachers_are_refined_while_their_returns_are_low_and_rise():
    training = settings("windows", converged_gain=2.0, refine_below=20.0).training
    kept, before = np.array([10.0, 10.0, 10.0, 20.0]), np.array([9.0, 7.0, -np.inf, 0.0])
    length = training.steps_per_teacher
    assert extra_rounds.worth_refining(training, kept, before, length).tolist() == [False, True, True, False]
    assert extra_rounds.worth_refining(training, kept, before, 2 * length).tolist() == [False, False, True, False]


def without_last_checkpoint(run):
    """Removes the checkpoint of the last extra round, as if the run had been killed in it."""
    newest = checkpoints.resumable_steps(run)[0]
    for kind in ("best", "latest"):
        shutil.rmtree(run / "checkpoints" / kind / str(newest))


def test_run_killed_in_an_extra_round_repeats_it(tmp_path, drones):
    windows = settings("windows", extra_rounds=2, pass_return=1e6, checkpoint_frequency=1000)
    train(windows, drones, tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "killed")
    without_last_checkpoint(tmp_path / "killed")
    train(windows, drones, tmp_path / "killed", resume=True)
    assert faults.differences(tmp_path / "killed", tmp_path / "run") == []
    with np.load(tmp_path / "run" / "curves.npz") as curves:
        # Once at the end of a round, once at the beginning of the next.
        assert [np.sum(curves["eval_step"] == step) for step in (128, 256, 512)] == [2, 2, 1]


def with_extra_round_of_the_first(monkeypatch):
    """Makes an extra round train the first teacher."""
    monkeypatch.setattr(extra_rounds, "teachers_to_train_on", lambda _, state: np.arange(1 - state.round.attempt))


def test_round_filled_up_as_on_an_accelerator_trains_the_same(tmp_path, drones, monkeypatch):
    windows = settings("windows", extra_rounds=1, checkpoint_frequency=20)
    with_extra_round_of_the_first(monkeypatch)
    train(windows, drones, tmp_path / "alone")
    monkeypatch.setattr(rounds, "block_size", lambda *_: 3)
    train(windows, drones, tmp_path / "filled")
    without_last_checkpoint(tmp_path / "filled")
    train(windows, drones, tmp_path / "filled", resume=True)
    assert results_of(tmp_path / "filled")["teachers"] == results_of(tmp_path / "alone")["teachers"]


def test_extra_round_of_a_third_of_the_teachers_has_a_third_of_the_checkpoints(tmp_path, drones, monkeypatch):
    saved = []
    with_extra_round_of_the_first(monkeypatch)
    monkeypatch.setattr(loop, "save_checkpoint", lambda setup, output, state: saved.append(state.step))
    train(settings("model_free", extra_rounds=1, checkpoint_frequency=32), drones, tmp_path / "run")
    assert saved == [64, 96, 128, 192, 256]
