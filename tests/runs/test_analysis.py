"""Runs read back as one population."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from raptor_jax.errors import UserError
from raptor_jax.runs import analysis, layout
from raptor_jax.utils.files import write_json
from tests.runs.builder import CHUNK, POINTS, results_of, write_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of four and of three teachers."""
    directory = tmp_path_factory.mktemp("runs")
    write_run(directory / "a", 4)
    write_run(directory / "b", 3, seed=7)
    return [directory / "a", directory / "b"]


@pytest.fixture(scope="module")
def population(runs):
    """The run of four."""
    return analysis.load(runs[0])


def test_a_row_is_the_same_teacher_everywhere(runs, population):
    teachers = population.teachers
    assert len(population) == 4
    judged = [teacher["mean_return"] for teacher in results_of(runs[0])["teachers"]]
    np.testing.assert_array_equal(teachers["mean_return"], judged)
    np.testing.assert_array_equal(population.evaluation["reward"][:, POINTS - 1], np.float32(judged))
    np.testing.assert_array_equal(population.drones.dynamics.mass, teachers["mass"])
    described = ("thrust_to_weight", "torque_to_inertia", "mass", "rotor_torque_constant", "rotor_time_constant_rising")
    for row, drone in enumerate(teachers["drone"]):
        metadata = json.loads((layout.drones(runs[0]) / drone).read_text())["metadata"]
        assert [teachers[name][row] for name in described] == pytest.approx([metadata[name] for name in described])
    assert teachers["passed"].tolist() == [True, True, True, False]
    assert np.isnan(teachers["frozen_at_step"]).all()
    assert np.isnan(teachers["position_offset"]).tolist() == [False, False, False, True]


def test_the_start_of_an_extra_round_is_a_point_of_its_own(population):
    step, reward = population.evaluation.step, population.evaluation["reward"]
    assert step.tolist() == [0, 1000, 2000, 3000, 4000, 4000, 5000, 6000, 7000, 8000]
    assert np.isnan(reward[:3, POINTS:]).all()
    assert reward[3].tolist() == pytest.approx([0, -5, -10, -15, -20] * 2)
    assert population.training["episode_reward"].shape == (4, 2 * (POINTS - 1))


def test_the_best_so_far_never_falls_and_outlasts_the_round(population):
    best = analysis.best_so_far(population)
    assert (np.diff(best, axis=1) >= 0).all()
    np.testing.assert_allclose(best[:, -1], [*population.teachers["mean_return"][:3], 0])


def test_steps_to_pass_are_those_of_the_first_evaluation_above_the_pass_return(population):
    # Straight lines from 0: the first point above 200. The last teacher never passes.
    expected = CHUNK * (np.floor(200 / population.teachers["mean_return"][:3] * (POINTS - 1)) + 1)
    np.testing.assert_array_equal(analysis.steps_to_pass(population), [*expected, np.nan])


def test_several_runs_are_one_population(runs):
    population = analysis.load(*runs)
    assert len(population) == 7
    assert population.teachers["run"].tolist() == [0] * 4 + [1] * 3
    assert population.teachers["teacher_id"].tolist() == [0, 1, 2, 3, 0, 1, 2]
    judged = [teacher["mean_return"] for run in runs for teacher in results_of(run)["teachers"]]
    np.testing.assert_array_equal(population.teachers["mean_return"], judged)
    assert population.drones.dynamics.mass.shape == (7,)
    assert [run["output_dir"] for run in population.runs] == [str(run) for run in runs]


def test_runs_with_other_points_share_an_axis(runs, tmp_path):
    write_run(tmp_path, 2)
    with np.load(tmp_path / layout.CURVES) as curves:
        other = dict(curves)
    other["eval_step"] = other["eval_step"] + 500
    other["train_entropy"] = other.pop("train_episode_reward")
    np.savez(tmp_path / layout.CURVES, **other)
    population = analysis.load(runs[0], tmp_path)
    reward = population.evaluation["reward"]
    assert reward.shape == (6, 4 * POINTS)
    assert (np.diff(population.evaluation.step) >= 0).all()
    assert np.isfinite(reward[0]).sum() == np.isfinite(reward[4]).sum() == POINTS
    assert not (np.isfinite(reward[0]) & np.isfinite(reward[4])).any()
    np.testing.assert_allclose(analysis.best_so_far(population)[0, -1], population.teachers["mean_return"][0])
    assert np.isnan(population.training["entropy"][:4]).all()
    assert np.isnan(population.training["episode_reward"][4:]).all()


def test_run_without_final_evaluation(tmp_path):
    write_run(tmp_path, 2)
    content = results_of(tmp_path)
    content["run"]["status"] = "interrupted"
    for teacher in content["teachers"]:
        teacher.update(mean_return=None, passed=None)
    write_json(tmp_path / layout.RESULTS, content)
    write_run(tmp_path / "judged", 2)
    population = analysis.load(tmp_path, tmp_path / "judged")
    teachers = population.teachers
    assert teachers["judged"].tolist() == [False, False, True, True]
    assert np.isnan(teachers["mean_return"]).tolist() == [True, True, False, False]
    assert teachers["passed"].tolist() == [False, False, True, False]
    expected = np.concatenate([teachers["best_eval_reward"][:2], teachers["mean_return"][2:]])
    np.testing.assert_array_equal(analysis.returns(population), expected)


@pytest.mark.parametrize(
    ("name", "damage", "expected"),
    [
        ("results.json", lambda path: path.write_text('{"run": {}, "teachers": [{}]}'), "not the results of a run"),
        ("results.json", Path.unlink, "no such file"),
        ("curves.npz", Path.unlink, "no such file"),
        ("curves.npz", lambda path: path.write_bytes(path.read_bytes()[:100]), "not a NumPy archive"),
        ("curves.npz", lambda path: np.savez(path, teacher_id=np.arange(2)), "holds no eval_reward"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, name, damage, expected):
    write_run(tmp_path, 2)
    damage(tmp_path / name)
    with pytest.raises(UserError, match=rf"^.*{name}: {expected}.*\Z"):
        analysis.load(tmp_path)


def test_a_run_has_as_many_drones_as_teachers(tmp_path):
    write_run(tmp_path, 2)
    (layout.drones(tmp_path) / "0001.json").unlink()
    with pytest.raises(UserError, match=r"^.*has 2 teachers.*\Z"):
        analysis.load(tmp_path)


def test_no_run_at_all():
    with pytest.raises(UserError, match="no run to read"):
        analysis.load()


def test_unknown_fields_without_numbers_are_missing(tmp_path):
    write_run(tmp_path, 2)
    content = results_of(tmp_path)
    content["teachers"][0] |= {"tags": [1], "note": "text"}
    content["teachers"][1] |= {"tags": [1, 2], "note": [1]}
    write_json(tmp_path / layout.RESULTS, content)
    teachers = analysis.load(tmp_path).teachers
    assert np.isnan(teachers["tags"]).all()
    assert teachers["note"].tolist() == ["text", ""]


def test_teachers_as_a_dataframe(runs):
    population = analysis.load(*runs)
    table = population.to_dataframe()
    assert list(table.columns) == list(population.teachers)
    for name, values in population.teachers.items():
        np.testing.assert_array_equal(table[name].to_numpy(), values)
    assert table[table["passed"]].groupby("run")["mean_return"].count().tolist() == [3, 2]


def test_curves_as_a_tidy_dataframe(runs):
    population = analysis.load(*runs)
    table = population.curves_to_dataframe()
    assert list(table.columns) == ["run", "teacher_id", "step", "reward"]
    # Only the last teacher of each run has a second round.
    assert len(table) == 7 * POINTS + 2 * POINTS
    assert not table["reward"].isna().any()
    one = table[(table["run"] == 1) & (table["teacher_id"] == 0)]
    assert one["step"].tolist() == [0, 1000, 2000, 3000, 4000]
    np.testing.assert_array_equal(one["reward"], population.evaluation["reward"][4, :POINTS])
    training = population.curves_to_dataframe("training")
    assert list(training.columns) == ["run", "teacher_id", "step", "episode_reward"]


def test_dataframes_name_what_is_missing(population, monkeypatch):
    with pytest.raises(UserError, match="'train' should be 'evaluation' or 'training'"):
        population.curves_to_dataframe("train")
    monkeypatch.setitem(sys.modules, "pandas", None)
    for call in (population.to_dataframe, population.curves_to_dataframe):
        with pytest.raises(UserError, match=r"install raptor-jax\[notebook\]"):
            call()
