"""The host loop when something goes wrong on the way, and how it cuts a run into chunks."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from raptor_jax import cli, population, trainer
from raptor_jax.config import Config, build
from raptor_jax.dynamics import files, sampling
from raptor_jax.errors import UserError

CONFIG = build(
    {
        "environment": {"environments_per_teacher": 4, "episode_steps": 20},
        "sac": {
            "actor_hidden_dim": 8,
            "critic_hidden_dim": 8,
            "critic_batch_size": 8,
            "actor_batch_size": 8,
            "n_warmup_steps": 32,
        },
        "training": {
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


def test_a_teacher_whose_numbers_break_is_reported_and_the_others_pass(tmp_path, drones, monkeypatch):
    create = population.create

    def create_broken(*arguments):
        made = create(*arguments)
        broken = made.teachers.log_alpha.at[1].set(jnp.nan)
        return made.replace(teachers=made.teachers.replace(log_alpha=broken))

    monkeypatch.setattr(population, "create", create_broken)
    console = Console(record=True, width=200)
    trainer.train(CONFIG, drones, tmp_path / "run", overwrite=False, console=console)

    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [teacher["frozen_at_step"] is None for teacher in results["teachers"]] == [True, False, True]
    assert results["teachers"][0]["passed"]
    assert results["teachers"][2]["passed"]
    assert "teacher 0001 (0001.json): its numbers became non-finite" in console.export_text()


def test_an_interrupted_run_leaves_what_it_had_and_can_be_inspected(tmp_path, drones, monkeypatch, capsys):
    compiled = trainer.compile_programs

    def compile_interrupted(*arguments):
        programs, calls = compiled(*arguments), []

        def train(donated, drones):
            calls.append(donated)
            after = programs.train(donated, drones)
            if len(calls) == 3:
                # As a Ctrl-C inside the call: the donated population is gone, and the new one not yet there.
                raise KeyboardInterrupt
            return after

        return programs._replace(train=train)

    monkeypatch.setattr(trainer, "compile_programs", compile_interrupted)
    monkeypatch.setattr(trainer.memory, "temporaries", lambda programs: 0)
    with pytest.raises(KeyboardInterrupt):
        trainer.train(CONFIG, drones, tmp_path / "run", overwrite=False, console=Console(quiet=True))

    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["run"]["status"] == "interrupted"
    assert results["run"]["step"] == 96
    assert all(teacher["passed"] is None and teacher["best_step"] is not None for teacher in results["teachers"])
    with np.load(tmp_path / "run" / "curves.npz") as curves:
        assert curves["eval_step"].tolist() == [32, 64, 96]
    assert cli.main(["inspect", str(tmp_path / "run")]) == cli.PASSED
    shown = capsys.readouterr().out
    assert "interrupted, step 96" in shown
    assert "not judged" in shown


def test_drones_keep_their_names(tmp_path, drones):
    for file, name in zip(drones, ("crazyflie", "2_inch", "racer"), strict=True):
        file.path.rename(file.path.with_name(f"{name}.json"))
    named = files.load_directory(tmp_path / "dynamics")
    assert trainer.train(CONFIG, named, tmp_path / "run", overwrite=False, console=Console(quiet=True))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [teacher["drone"] for teacher in results["teachers"]] == [file.path.name for file in named]
    assert cli.main(["evaluate", str(tmp_path / "run"), "--json", str(tmp_path / "again.json")]) == cli.PASSED
    again = json.loads((tmp_path / "again.json").read_text())
    for first, second in zip(results["teachers"], again["teachers"], strict=True):
        assert first["drone"] == second["drone"]
        assert first["mean_return"] == pytest.approx(second["mean_return"], rel=1e-5)


@pytest.mark.parametrize(
    ("environments", "interval", "steps", "log"),
    [(1, 1, 100, 7), (4, 2, 1000, 64), (16, 2, 40_000, 4_000), (3, 2, 50, 1)],
)
def test_a_schedule_covers_the_steps_asked_for_and_less_than_a_chunk_more(environments, interval, steps, log):
    overrides = {
        "environment.environments_per_teacher": environments,
        "sac.actor_update_interval": interval,
        "sac.n_warmup_steps": 10,
        "training.steps_per_teacher": steps,
        "training.log_frequency": log,
    }
    plan = trainer.schedule(build({}, overrides, "test"))
    assert steps <= plan.total_steps < steps + plan.chunk_steps
    assert plan.warmup_steps >= 10
    assert plan.chunk_steps % (environments * interval) == 0
    assert plan.chunk_steps <= max(log, environments * interval)


def test_a_run_without_learning_is_refused():
    with pytest.raises(UserError, match=r"training.steps_per_teacher: 10 .*n_warmup_steps"):
        trainer.schedule(build({}, {"training.steps_per_teacher": 10}, "test"))


@pytest.mark.parametrize(
    ("before", "after", "expected"), [(0, 9, False), (9, 10, True), (10, 19, False), (5, 35, True), (10, 10, False)]
)
def test_a_frequency_is_met_when_a_multiple_is_crossed(before, after, expected):
    assert trainer.crossed(before, after, 10) is expected
