"""The command `ceiling`: its output and files, its values in the report, and the input that it refuses."""

import shutil
from pathlib import Path

import pytest

from raptor_jax.commands import exit_status
from raptor_jax.evaluation import ceilings
from raptor_jax.evaluation.ceilings import Effort
from raptor_jax.report import content
from raptor_jax.runs import analysis, layout, teacher_result
from raptor_jax.runs.directory import locked
from raptor_jax.utils.files import write_json
from tests.runs.builder import results_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

EPISODES = 2


@pytest.fixture
def run(run_of_4, tmp_path, monkeypatch) -> Path:
    """A run with episodes of 25 steps, and a short search."""
    monkeypatch.setattr(ceilings, "Effort", lambda: Effort(30, 5))
    copy = tmp_path / "run"
    shutil.copytree(run_of_4, copy)
    settings = layout.config_file(copy)
    settings.write_text(settings.read_text().replace("episode_steps: 500", "episode_steps: 25"))
    return copy


@pytest.fixture
def searched(run, numbers):
    """A function that returns what `ceiling --json` writes about the run."""
    return lambda *arguments: numbers("ceiling", run, "--episodes", EPISODES, *arguments)


def test_the_ceiling_is_printed_written_and_shown_in_the_report(capsys, run, searched):
    before = results_of(run)
    found = searched("--teachers", "1,3")
    text = capsys.readouterr().out
    assert found["run"]["episodes"] == EPISODES
    assert [one["teacher_id"] for one in found["teachers"]] == [1, 3]
    for one in found["teachers"]:
        assert one["ceiling"] > one["ceiling_return"]
        assert one["ceiling_share"] == pytest.approx(one["ceiling_return"] / one["ceiling"])
        line = next(line for line in text.splitlines() if f"{one['teacher_id']:04d}" in line)
        for shown in (f"{one['ceiling_return']:.1f}", f"{one['ceiling']:.1f}", f"{one['ceiling_share']:.3f}"):
            assert shown in line
    shares = [one["ceiling_share"] for one in found["teachers"]]
    assert f"median {sum(shares) / 2:.3f}, lowest {min(shares):.3f}" in text
    assert "lower bound" in text

    after = results_of(run)
    assert after["run"] == before["run"]
    added = {one["teacher_id"]: {name: one[name] for name in teacher_result.CEILING} for one in found["teachers"]}
    assert after["teachers"] == [old | added.get(old["teacher_id"], {}) for old in before["teachers"]]

    shown = content.of(analysis.load(run), [None] * 4)
    ceilings = [teacher["ceiling"] for teacher in after["teachers"]]
    assert shown["teachers"]["ceiling"] == [one and pytest.approx(one) for one in ceilings]
    assert shown["teachers"]["ceiling_share"][1] == pytest.approx(shares[0], abs=1e-6)
    assert shown["ceiling_episodes"] == str(EPISODES)


def test_the_return_is_that_of_the_same_episodes_in_evaluate(run, searched, numbers):
    found = searched()["teachers"]
    evaluated = numbers("evaluate", run, "--episodes", EPISODES, statuses=[exit_status.NOT_PASSED])["teachers"]
    for one, other in zip(found, evaluated, strict=True):
        assert one["ceiling_return"] == pytest.approx(other["mean_return"], rel=1e-4)
        assert one["share_terminated"] == other["share_terminated"]
        # What `evaluate` finds is not a part of the run, and neither has a ceiling that was not searched for.
        assert other["ceiling"] is None


def test_a_run_in_use_is_not_changed(capsys, run, searched):
    before = results_of(run)
    with locked(run):
        found = searched("--teachers", "0")
    assert found["teachers"][0]["ceiling"] is not None
    assert results_of(run) == before
    assert "results.json was not changed: the run is in use" in capsys.readouterr().out


def test_results_of_another_step_are_not_changed(capsys, run, searched):
    changed = results_of(run)
    changed["run"]["step"] += 1
    write_json(run / layout.RESULTS, changed)
    searched("--teachers", "0")
    assert results_of(run) == changed
    assert "it does not belong to the kept actors of step" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--teachers", "2:6"), "has no teacher 4, but 0 to 3"),
        (("--teachers", "x"), "should be FIRST:END"),
        (("--episodes", "0"), "'0' should be a whole number from 1 to"),
        (("--json", "nowhere/c.json"), "--json: nowhere/c.json: cannot be written"),
        (("--seed", "1"), "--seed: unknown option"),
    ],
)
def test_wrong_options_are_refused_in_one_line(refused, run_of_4, arguments, problem):
    assert problem in refused("ceiling", run_of_4, "--device", "cpu", *arguments)


def test_a_path_that_is_not_a_run_is_refused(refused, tmp_path):
    assert "results.json: no such file" in refused("ceiling", tmp_path, "--device", "cpu")
