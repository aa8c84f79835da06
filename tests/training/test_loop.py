"""The host loop: divergence, interruption, extra rounds, and the schedule of chunks."""

import itertools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.config import Config, build
from raptor_jax.drones import files, sampling
from raptor_jax.errors import UserError
from raptor_jax.population import sac as population
from raptor_jax.population.schedule import is_due
from raptor_jax.runs import checkpoints
from raptor_jax.training import divergence, extra_rounds, loop, rounds
from validation.drones import calm, replaced

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

CONFIG = build(
    {
        "environment": {"environments_per_teacher": 4, "episode_steps": 20},
        "sac": {
            "horizon": 0,
            "actor_hidden_dim": 8,
            "critic_hidden_dim": 8,
            "critic_batch_size": 8,
            "actor_batch_size": 8,
            "n_warmup_steps": 32,
        },
        "training": {
            "extra_rounds": 0,
            "steps_per_teacher": 128,
            "log_frequency": 32,
            "eval_frequency": 32,
            "eval_episodes": 3,
            "final_eval_episodes": 3,
            "checkpoint_frequency": 64,
            "pass_return": -1e6,
        },
    },
    {},
    "test",
)


@pytest.fixture
def drones(tmp_path):
    sampling.write_drones(tmp_path / "dynamics", Config().sampling, 3)
    return files.load_directory(tmp_path / "dynamics")


def train(config, drones, output_dir, console=None, **options):
    job = loop.Job(config, drones, np.arange(len(drones)), output_dir)
    return loop.train(job, console or Console(quiet=True), **options)


def results_of(run):
    return json.loads((run / "results.json").read_text())


def with_train(monkeypatch, change):
    """Lets `change(train, call, population, drones)` stand in for every chunk of training; calls count from 1."""
    prepare = rounds.prepare

    def prepared(*arguments):
        now, calls = prepare(*arguments), itertools.count(1)

        def run(population, drones, updates):
            def train(population, drones):
                return now.programs.train(population, drones, updates)

            return change(train, next(calls), population, drones)

        return now._replace(programs=now.programs._replace(train=run))

    monkeypatch.setattr(rounds, "prepare", prepared)
    monkeypatch.setattr(rounds.Programs, "temporary_bytes", 0)


def test_teacher_that_diverges_once_is_restarted_alone(tmp_path, drones, monkeypatch):
    train(CONFIG, drones, tmp_path / "calm")

    def break_the_second(program, call, population, drones):
        if call == 2:
            log_alpha = population.teachers.log_alpha.at[1].set(jnp.nan)
            rows = population.replay.rows.at[1, 0].set(jnp.nan)
            population = population.replace(
                teachers=population.teachers.replace(log_alpha=log_alpha), replay=population.replay.replace(rows=rows)
            )
            # The state before the chunk is broken, too, so the rollback gets a whole one.
            before = jax.tree.map(jnp.copy, population.teachers)
            after, metrics = program(population, drones)
            mended = jnp.where(jnp.isnan(before.log_alpha), jnp.log(0.2), after.teachers.log_alpha)
            return after.replace(teachers=after.teachers.replace(log_alpha=mended)), metrics
        return program(population, drones)

    with_train(monkeypatch, break_the_second)
    console = Console(record=True, width=200)
    train(CONFIG, drones, tmp_path / "broken", console)
    calm, broken = (results_of(tmp_path / name)["teachers"] for name in ("calm", "broken"))
    assert [teacher["restarts"] for teacher in broken] == [0, 1, 0]
    assert [teacher["frozen_at_step"] for teacher in broken] == [None, None, None]
    assert [calm[0], calm[2]] == [broken[0], broken[2]]
    assert "teacher 0001 (0001.json): its numbers became non-finite before step 96" in console.export_text()
    with np.load(tmp_path / "broken" / "curves.npz") as curves:
        assert np.isfinite(curves["train_critic_loss"][curves["train_step"] > 96]).all()


def test_teacher_that_keeps_diverging_is_frozen(tmp_path, drones, monkeypatch):
    create = population.create

    def create_broken(*arguments, **named):
        made = create(*arguments, **named)
        broken = made.teachers.log_alpha.at[1].set(jnp.nan)
        return made.replace(teachers=made.teachers.replace(log_alpha=broken))

    monkeypatch.setattr(population, "create", create_broken)
    console = Console(record=True, width=200)
    train(CONFIG, drones, tmp_path / "run", console)

    results = results_of(tmp_path / "run")
    assert [teacher["frozen_at_step"] for teacher in results["teachers"]] == [None, 128, None]
    assert [teacher["restarts"] for teacher in results["teachers"]] == [0, divergence.RESTARTS, 0]
    assert results["teachers"][0]["passed"]
    assert results["teachers"][2]["passed"]
    assert "teacher 0001 (0001.json): its numbers became non-finite" in console.export_text()


def test_interrupted_run_can_be_inspected(tmp_path, drones, monkeypatch, capsys):
    def interrupt_the_third(program, call, population, drones):
        after = program(population, drones)
        if call == 3:
            # As inside the call: the donated population is gone, and the new one not yet there.
            raise KeyboardInterrupt
        return after

    with_train(monkeypatch, interrupt_the_third)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, drones, tmp_path / "run")

    results = results_of(tmp_path / "run")
    assert results["run"]["status"] == "interrupted"
    assert results["run"]["step"] == 96
    assert all(teacher["passed"] is None and teacher["best_step"] is not None for teacher in results["teachers"])
    with np.load(tmp_path / "run" / "curves.npz") as curves:
        assert curves["eval_step"].tolist() == [32, 64, 96]
    assert cli.main(["inspect", str(tmp_path / "run")]) == exit_status.PASSED
    shown = capsys.readouterr().out
    assert "interrupted, step 96" in shown
    assert "not evaluated" in shown


def test_drones_keep_their_names(tmp_path, drones):
    for file, name in zip(drones, ("crazyflie", "2_inch", "racer"), strict=True):
        file.path.rename(file.path.with_name(f"{name}.json"))
    named = files.load_directory(tmp_path / "dynamics")
    assert train(CONFIG, named, tmp_path / "run") is loop.Ending.PASSED
    results = results_of(tmp_path / "run")
    assert [teacher["drone"] for teacher in results["teachers"]] == [file.path.name for file in named]
    assert cli.main(["evaluate", str(tmp_path / "run"), "--json", str(tmp_path / "again.json")]) == exit_status.PASSED
    again = json.loads((tmp_path / "again.json").read_text())
    for first, second in zip(results["teachers"], again["teachers"], strict=True):
        assert first["drone"] == second["drone"]
        assert first["mean_return"] == pytest.approx(second["mean_return"], rel=1e-5)


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
    plan = population.schedule(build({}, overrides, "test"))
    assert steps <= plan.total_steps < steps + plan.chunk_steps
    assert plan.warmup_steps >= 10
    assert plan.chunk_steps % (environments * interval) == 0
    assert plan.chunk_steps <= max(log, environments * interval)


def test_run_without_learning_is_refused():
    with pytest.raises(UserError, match=r"training.steps_per_teacher: 10 .*n_warmup_steps"):
        population.schedule(build({}, {"sac.horizon": 0, "training.steps_per_teacher": 10}, "test"))


@pytest.mark.parametrize(
    ("before", "after", "expected"), [(0, 9, False), (9, 10, True), (10, 19, False), (5, 35, True), (10, 10, False)]
)
def test_something_is_due_at_every_multiple(before, after, expected):
    assert is_due(before, after, 10) is expected


WINDOWS = build(
    CONFIG.model_dump(),
    {
        "training.start": "scratch",
        "environment.environments_per_teacher": 2,
        "sac.horizon": 8,
        "training.extra_rounds": 2,
    },
    "test",
)


@pytest.mark.slow
def test_extra_rounds_train_failing_teachers_further_and_for_longer(tmp_path, drones, monkeypatch):
    # The second teacher's drone is blown away; the others start level and at rest.
    files = [file._replace(drone=calm(file.drone)) for file in drones]
    blown_away = replaced(files[1].drone, disturbances__random_force__std=np.float64(1e4))
    files[1] = files[1]._replace(drone=blown_away)
    config = build(WINDOWS.model_dump(), {"training.pass_return": -50, "training.refine_below": -1e6}, "test")
    prepare, prepared = rounds.prepare, []
    monkeypatch.setattr(rounds, "prepare", lambda *arguments: prepared.append(prepare(*arguments)) or prepared[-1])
    console = Console(record=True, width=200)
    assert train(config, files, tmp_path / "run", console) is loop.Ending.NOT_PASSED
    results = results_of(tmp_path / "run")
    assert [(r["teacher_ids"], r["steps"]) for r in results["run"]["rounds"]] == [
        ([0, 1, 2], 128),
        ([1], 128),
        ([1], 256),
    ]
    # A program serves every round of as many teachers, however long.
    assert prepared[2].programs.train.run is prepared[1].programs.train.run is not prepared[0].programs.train.run
    assert [teacher["rounds"] for teacher in results["teachers"]] == [1, 3, 1]
    assert [teacher["passed"] for teacher in results["teachers"]] == [True, False, True]
    assert "2 of 3 passed" in console.export_text()
    with np.load(tmp_path / "run" / "curves.npz") as curves:
        longer = np.arange(curves["eval_step"].size) > np.argmax(curves["eval_step"] == 128)
        assert np.all(np.isfinite(curves["eval_reward"][longer, 1]))
        assert np.all(np.isnan(curves["eval_reward"][longer][:, [0, 2]]))
        # It continues from the kept actor.
        assert curves["eval_reward"][longer, 1][0] == np.max(curves["eval_reward"][~longer, 1])
        assert curves["eval_step"].tolist() == sorted(curves["eval_step"])
    step, tree = checkpoints.load_best(tmp_path / "run")
    assert step == results["run"]["step"] == 128 + 128 + 256
    assert tree["teacher_id"].tolist() == [0, 1, 2]


def test_teachers_are_refined_while_their_returns_are_low_and_rise():
    settings = WINDOWS.training.model_copy(update={"converged_gain": 2.0, "refine_below": 20.0})
    kept, before = np.array([10.0, 10.0, 10.0, 20.0]), np.array([9.0, 7.0, -np.inf, 0.0])
    length = settings.steps_per_teacher
    assert extra_rounds.worth_refining(settings, kept, before, length).tolist() == [False, True, True, False]
    assert extra_rounds.worth_refining(settings, kept, before, 2 * length).tolist() == [False, False, True, False]


@pytest.mark.slow
def test_run_killed_in_an_extra_round_repeats_it(tmp_path, drones):
    overrides = {"training.pass_return": 1e6, "training.extra_rounds": 1, "training.checkpoint_frequency": 1000}
    config = build(WINDOWS.model_dump(), overrides, "test")
    train(config, drones, tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "killed")
    for kind in ("best", "latest"):
        shutil.rmtree(tmp_path / "killed" / "checkpoints" / kind / "256")
    train(config, drones, tmp_path / "killed", resume=True)
    runs = [results_of(tmp_path / name) for name in ("run", "killed")]
    assert runs[0]["teachers"] == runs[1]["teachers"]
    assert runs[0]["run"]["rounds"] == runs[1]["run"]["rounds"]
    with np.load(tmp_path / "run" / "curves.npz") as expected, np.load(tmp_path / "killed" / "curves.npz") as found:
        # Once at the end of the main round, once at the beginning of the extra round.
        assert np.sum(expected["eval_step"] == 128) == 2
        for name in expected.files:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_round_filled_up_as_on_an_accelerator_trains_the_same(tmp_path, drones, monkeypatch):
    overrides = {"training.extra_rounds": 1, "training.checkpoint_frequency": 20}
    config = build(WINDOWS.model_dump(), overrides, "test")
    monkeypatch.setattr(extra_rounds, "teachers_to_train_on", lambda _, state: np.arange(1 - state.round.attempt))
    train(config, drones, tmp_path / "alone")
    monkeypatch.setattr(rounds, "block_size", lambda *_: 3)
    train(config, drones, tmp_path / "filled")
    for kind in ("best", "latest"):
        shutil.rmtree(tmp_path / "filled" / "checkpoints" / kind / "256")
    train(config, drones, tmp_path / "filled", resume=True)
    assert results_of(tmp_path / "filled")["teachers"] == results_of(tmp_path / "alone")["teachers"]


def test_extra_round_of_a_third_of_the_teachers_has_a_third_of_the_checkpoints(tmp_path, drones, monkeypatch):
    config = build(CONFIG.model_dump(), {"training.extra_rounds": 1, "training.checkpoint_frequency": 32}, "test")
    saved = []
    monkeypatch.setattr(extra_rounds, "teachers_to_train_on", lambda _, state: np.arange(1 - state.round.attempt))
    monkeypatch.setattr(loop, "save_checkpoint", lambda setup, output, state: saved.append(state.step))
    train(config, drones, tmp_path / "run")
    assert saved == [64, 96, 128, 192, 256]
