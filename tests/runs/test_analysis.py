"""Runs read back as one population."""

import json
import sys

import numpy as np
import pytest

from raptor_jax.errors import UserError
from raptor_jax.runs import analysis, layout
from tests.runs.builder import CHUNK, POINTS, write_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of four and of three teachers, and their returns."""
    directory = tmp_path_factory.mktemp("runs")
    written = {
        directory / name: write_run(directory / name, *about) for name, about in {"a": (4, 0), "b": (3, 7)}.items()
    }
    return list(written), list(written.values())


def test_a_row_is_the_same_teacher_everywhere(runs):
    (run, _), (returns, _) = runs
    population = analysis.load(run)
    assert len(population) == 4
    np.testing.assert_array_equal(population.teachers["mean_return"], returns)
    np.testing.assert_array_equal(population.evaluation["reward"][:, POINTS - 1], returns.astype(np.float32))
    for row, drone in enumerate(population.teachers["drone"]):
        metadata = json.loads((run / "checkpoints" / "dynamics" / drone).read_text())["metadata"]
        for name in (
            "thrust_to_weight",
            "torque_to_inertia",
            "mass",
            "rotor_torque_constant",
            "rotor_time_constant_rising",
        ):
            assert population.teachers[name][row] == pytest.approx(metadata[name])
        assert population.drones.dynamics.mass[row] == population.teachers["mass"][row]
    assert population.teachers["passed"].tolist() == [True, True, True, False]
    assert np.isnan(population.teachers["frozen_at_step"]).all()
    assert np.isnan(population.teachers["position_offset"]).tolist() == [False, False, False, True]


def test_the_start_of_an_extra_round_is_a_point_of_its_own(runs):
    population = analysis.load(runs[0][0])
    step, reward = population.evaluation.step, population.evaluation["reward"]
    assert step.tolist() == [0, 1000, 2000, 3000, 4000, 4000, 5000, 6000, 7000, 8000]
    assert np.isnan(reward[:3, POINTS:]).all()
    assert reward[3].tolist() == pytest.approx([0, -5, -10, -15, -20] * 2)
    assert population.training["episode_reward"].shape == (4, 2 * (POINTS - 1))


def test_the_best_so_far_never_falls_and_outlasts_the_round(runs):
    population = analysis.load(runs[0][0])
    best = analysis.best_so_far(population)
    assert (np.diff(best, axis=1) >= 0).all()
    np.testing.assert_allclose(best[:3, -1], population.teachers["mean_return"][:3])
    assert best[3, -1] == 0


def test_steps_to_pass_are_those_of_the_first_evaluation_above_the_pass_return(runs):
    (run, _), (returns, _) = runs
    steps = analysis.steps_to_pass(analysis.load(run))
    assert np.isnan(steps[3])
    # Straight lines from 0: the first point above 200.
    expected = CHUNK * (np.floor(200 / returns[:3] * (POINTS - 1)) + 1)
    np.testing.assert_array_equal(steps[:3], expected)


def test_several_runs_are_one_population(runs):
    (a, b), (first, second) = runs
    population = analysis.load(a, b)
    assert len(population) == 7
    assert population.teachers["run"].tolist() == [0] * 4 + [1] * 3
    assert population.teachers["teacher_id"].tolist() == [0, 1, 2, 3, 0, 1, 2]
    np.testing.assert_array_equal(population.teachers["mean_return"], np.concatenate([first, second]))
    assert population.drones.dynamics.mass.shape == (7,)
    assert [run["output_dir"] for run in population.runs] == [str(a), str(b)]


def test_runs_with_other_points_share_an_axis(runs, tmp_path):
    (a, _), (returns, _) = runs
    write_run(tmp_path / "c", 2)
    with np.load(tmp_path / "c" / "curves.npz") as curves:
        other = dict(curves)
    other["eval_step"] = other["eval_step"] + 500
    other["train_entropy"] = other.pop("train_episode_reward")
    np.savez(tmp_path / "c" / "curves.npz", **other)
    population = analysis.load(a, tmp_path / "c")
    reward = population.evaluation["reward"]
    assert reward.shape == (6, 4 * POINTS)
    assert (np.diff(population.evaluation.step) >= 0).all()
    assert np.isfinite(reward[0]).sum() == np.isfinite(reward[4]).sum() == POINTS
    assert not (np.isfinite(reward[0]) & np.isfinite(reward[4])).any()
    np.testing.assert_allclose(analysis.best_so_far(population)[0, -1], returns[0])
    assert np.isnan(population.training["entropy"][:4]).all()
    assert np.isnan(population.training["episode_reward"][4:]).all()


def test_run_without_final_evaluation(tmp_path):
    write_run(tmp_path, 2)
    content = json.loads((tmp_path / "results.json").read_text())
    content["run"]["status"] = "interrupted"
    for teacher in content["teachers"]:
        teacher.update(mean_return=None, passed=None)
    (tmp_path / "results.json").write_text(json.dumps(content))
    write_run(tmp_path / "judged", 2)
    population = analysis.load(tmp_path, tmp_path / "judged")
    teachers = population.teachers
    assert teachers["judged"].tolist() == [False, False, True, True]
    assert np.isnan(teachers["mean_return"]).tolist() == [True, True, False, False]
    assert teachers["passed"].tolist() == [False, False, True, False]
    expected = np.concatenate([teachers["best_eval_reward"][:2], teachers["mean_return"][2:]])
    np.testing.assert_array_equal(analysis.returns(population), expected)


def damaged_results(run):
    (run / "results.json").write_text('{"run": {}, "teachers": [{}]}')


def no_curves(run):
    (run / "curves.npz").unlink()


def torn_curves(run):
    (run / "curves.npz").write_bytes((run / "curves.npz").read_bytes()[:100])


def empty_curves(run):
    np.savez(run / "curves.npz", teacher_id=np.arange(2))


def fewer_drones(run):
    (run / "checkpoints" / "dynamics" / "0001.json").unlink()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (damaged_results, "results.json: not the results of a run"),
        (no_curves, "curves.npz: no such file"),
        (torn_curves, "curves.npz: not a NumPy archive"),
        (empty_curves, "curves.npz: holds no eval_reward"),
        (fewer_drones, "has 2 teachers"),
    ],
)
def test_damage_is_reported_in_one_line(tmp_path, damage, expected):
    write_run(tmp_path, 2)
    damage(tmp_path)
    with pytest.raises(UserError, match=expected) as refused:
        analysis.load(tmp_path)
    assert len(str(refused.value).splitlines()) == 1


def test_no_run_at_all(tmp_path):
    with pytest.raises(UserError, match=r"results\.json: no such file"):
        analysis.load(tmp_path)
    with pytest.raises(UserError, match="no run to read"):
        analysis.load()


def test_unknown_fields_without_numbers_are_missing(tmp_path):
    write_run(tmp_path / "run", 2)
    path = tmp_path / "run" / layout.RESULTS
    content = json.loads(path.read_text())
    content["teachers"][0] |= {"tags": [1], "note": "text"}
    content["teachers"][1] |= {"tags": [1, 2], "note": [1]}
    path.write_text(json.dumps(content))
    teachers = analysis.load(tmp_path / "run").teachers
    assert np.isnan(teachers["tags"]).all()
    assert teachers["note"].tolist() == ["text", ""]


def test_teachers_as_a_dataframe(runs):
    population = analysis.load(*runs[0])
    table = population.to_dataframe()
    assert len(table) == 7
    assert list(table.columns) == list(population.teachers)
    for name, values in population.teachers.items():
        np.testing.assert_array_equal(table[name].to_numpy(), values)
    assert table[table["passed"]].groupby("run")["mean_return"].count().tolist() == [3, 2]


def test_curves_as_a_tidy_dataframe(runs):
    population = analysis.load(*runs[0])
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


def test_dataframes_name_what_is_missing(runs, monkeypatch):
    population = analysis.load(runs[0][0])
    with pytest.raises(UserError, match="'train' should be 'evaluation' or 'training'"):
        population.curves_to_dataframe("train")
    monkeypatch.setitem(sys.modules, "pandas", None)
    for call in (population.to_dataframe, population.curves_to_dataframe):
        with pytest.raises(UserError, match=r"install raptor-jax\[notebook\]"):
            call()
