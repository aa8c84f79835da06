"""results.json: what is written, and which files are read."""

import json

import pytest

from raptor_jax.errors import UserError
from raptor_jax.runs import layout, results, teacher_result
from raptor_jax.utils.files import write_json
from tests.runs.builder import write_run

RUN = [
    *("status", "output_dir", "config", "step", "device", "machine", "versions", "rounds", "timings"),
    "teacher_updates_per_second",
]
TEACHER = [
    *("teacher_id", "drone", "thrust_to_weight", "torque_to_inertia", "mass", "best_eval_reward", "best_step"),
    *("mean_return", "std_return", "episode_length", "share_terminated", "final_position_error", "position_offset"),
    *("yaw_offset", "stochastic_mean_return", "passed", "final_path", *teacher_result.CEILING),
    *("restarts", "frozen_at_step", "rounds"),
]
NEWER = (
    *("stochastic_mean_return", "position_offset", "yaw_offset", "restarts", "frozen_at_step", "rounds"),
    *teacher_result.CEILING,
)
"""Fields that the first versions did not write."""


@pytest.fixture
def path(tmp_path):
    write_run(tmp_path, 2)
    return tmp_path / layout.RESULTS


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    write_json(path, content)


def test_the_order_of_the_fields(path):
    content = json.loads(path.read_text())
    assert list(content) == ["run", "teachers"]
    assert list(content["run"]) == RUN
    assert list(content["teachers"][0]) == TEACHER


def test_a_file_without_newer_fields(path):
    change(path, lambda content: [content["teachers"][0].pop(name) for name in NEWER])
    teacher = results.read(path).teachers[0]
    assert (teacher.stochastic_mean_return, teacher.restarts, teacher.ceiling) == (None, 0, None)


def test_reading_returns_what_was_written_and_unknown_fields(path):
    change(path, lambda content: content["teachers"][1].update(note="text"))
    assert results.read(path).content() == json.loads(path.read_text())


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (lambda content: content["run"]["config"]["training"].pop("pass_return"), "run.config: .*training.pass_return"),
        (lambda content: content["run"]["versions"].pop("jax"), "run.versions: .*jax"),
        (lambda content: content["teachers"][1].update(mass="1"), "teachers.1.mass"),
        (lambda content: content["teachers"].clear(), "teachers: List should have at least 1 item"),
        (lambda content: content["teachers"][0].update(std_return=None), "teachers.0: .*without std_return"),
    ],
)
def test_a_damaged_field_is_named(path, edit, field):
    change(path, edit)
    with pytest.raises(UserError, match=rf"results.json: not the results of a run: {field}"):
        results.read(path)


def test_results_of_a_teacher_that_is_trained_further_have_no_final_evaluation_and_no_ceiling(path):
    change(path, lambda content: content["teachers"][0].update(dict.fromkeys(teacher_result.CEILING, 1)))
    found = results.read(path)
    assert found.teachers[0].ceiling == 1
    found.restore(found.content())
    assert {getattr(found.teachers[0], name) for name in teacher_result.CEILING} == {None}
    assert [teacher.passed for teacher in found.teachers] == [None, None]
    assert [teacher.rounds for teacher in found.teachers] == [1, 2]
