"""The command `ceiling`: its output and files, its values in the report, and the input that it refuses."""

import json
import re
import shutil
from pathlib import Path

import pytest

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.evaluation import ceilings
from raptor_jax.evaluation.ceilings import Effort
from raptor_jax.report import content
from raptor_jax.runs import analysis, layout, results, teacher_result
from raptor_jax.runs.directory import locked

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


def searched(run: Path, *arguments: str) -> dict:
    """Returns what `ceiling --json` writes."""
    path = run.parent / "numbers.json"
    options = ("--episodes", str(EPISODES), "--device", "cpu", "--json", str(path))
    assert cli.main(["ceiling", str(run), *options, *arguments]) == exit_status.PASSED
    return json.loads(path.read_text())


def test_the_ceiling_is_printed_written_and_shown_in_the_report(capsys, run):
    before = json.loads((run / layout.RESULTS).read_text())
    found = searched(run, "--teachers", "1,3")
    text = capsys.readouterr().out
    assert found["run"]["episodes"] == EPISODES
    assert [one["teacher_id"] for one in found["teachers"]] == [1, 3]
    for one in found["teachers"]:
        assert one["ceiling"] > one["ceiling_return"]
        assert one["ceiling_share"] == pytest.approx(one["ceiling_return"] / one["ceiling"])
        line = next(line for line in text.splitlines() if f"{one['teacher_id']:04d}" in line)
        assert f"{one['ceiling_return']:.1f}" in line
        assert f"{one['ceiling']:.1f}" in line
        assert f"{one['ceiling_share']:.3f}" in line
    shares = [one["ceiling_share"] for one in found["teachers"]]
    assert f"median {sum(shares) / 2:.3f}, lowest {min(shares):.3f}" in text
    assert "lower bound" in text

    after = json.loads((run / layout.RESULTS).read_text())
    assert after["run"] == before["run"]
    for entry, old in zip(after["teachers"], before["teachers"], strict=True):
        one = next((one for one in found["teachers"] if one["teacher_id"] == entry["teacher_id"]), None)
        added = {name: one[name] for name in teacher_result.CEILING} if one else {}
        assert entry == old | added

    shown = content.of(analysis.load(run), [None] * 4)
    assert shown["teachers"]["ceiling"] == [
        None,
        pytest.approx(after["teachers"][1]["ceiling"]),
        None,
        *shown["teachers"]["ceiling"][3:],
    ]
    assert shown["teachers"]["ceiling_share"][1] == pytest.approx(shares[0], abs=1e-6)
    assert shown["ceiling_episodes"] == str(EPISODES)


@pytest.mark.slow
def test_the_return_is_that_of_the_same_episodes_in_evaluate(run):
    found = searched(run)
    path = run.parent / "evaluated.json"
    cli.main(["evaluate", str(run), "--episodes", str(EPISODES), "--device", "cpu", "--json", str(path)])
    evaluated = json.loads(path.read_text())["teachers"]
    for one, other in zip(found["teachers"], evaluated, strict=True):
        assert one["ceiling_return"] == pytest.approx(other["mean_return"], rel=1e-4)
        assert one["share_terminated"] == other["share_terminated"]
        # What `evaluate` finds is not a part of the run, and neither has a ceiling that was not searched for.
        assert other["ceiling"] is None


@pytest.mark.slow
def test_a_run_in_use_is_not_changed(capsys, run):
    before = (run / layout.RESULTS).read_bytes()
    with locked(run):
        found = searched(run, "--teachers", "0")
    assert found["teachers"][0]["ceiling"] is not None
    assert (run / layout.RESULTS).read_bytes() == before
    assert re.search("results.json was not changed: the run is in use", capsys.readouterr().out)


def test_results_of_another_step_are_not_changed(capsys, run):
    path = run / layout.RESULTS
    changed = json.loads(path.read_text())
    changed["run"]["step"] += 1
    path.write_text(json.dumps(changed))
    searched(run, "--teachers", "0")
    assert json.loads(path.read_text()) == changed
    assert "it does not belong to the kept actors of step" in capsys.readouterr().out


def test_teachers_that_are_trained_further_have_no_ceiling(run):
    searched(run, "--teachers", "0")
    found = results.read(run / layout.RESULTS)
    assert found.teachers[0].ceiling is not None
    found.restore(found.content())
    assert {getattr(found.teachers[0], name) for name in teacher_result.CEILING} == {None}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--teachers", "2:6"), "has no teacher 4, but 0 to 3"),
        (("--teachers", "x"), "should be FIRST:END"),
        (("--episodes", "0"), "'0' should be a whole number of at least 1"),
        (("--json", "nowhere/c.json"), "--json: nowhere/c.json: cannot be written"),
        (("--seed", "1"), "--seed: unknown option"),
    ],
)
def test_wrong_options_are_refused_in_one_line(capsys, run_of_4, arguments, problem):
    assert cli.main(["ceiling", str(run_of_4), "--device", "cpu", *arguments]) == exit_status.USAGE
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert problem in message


def test_a_path_that_is_not_a_run_is_refused(capsys, tmp_path):
    assert cli.main(["ceiling", str(tmp_path), "--device", "cpu"]) == exit_status.USAGE
    assert "results.json: no such file" in capsys.readouterr().err
