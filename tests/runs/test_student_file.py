"""The student's file: saved weights are loaded again, also from the directory; invalid files are refused."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import student
from raptor_jax.errors import UserError
from raptor_jax.runs import layout, student_file, warm_start
from raptor_jax.runs.weights_file import save

NAMES = {
    "input/kernel": (22, 3),
    "input/bias": (3,),
    **{f"gru/{gate}/kernel": (3, 3) for gate in ("ir", "iz", "in", "hr", "hz", "hn")},
    **{f"gru/{gate}/bias": (3,) for gate in ("ir", "iz", "in", "hn")},
    "output/kernel": (3, 4),
    "output/bias": (4,),
}
"""The documented names and shapes, at a width of 3."""


@pytest.mark.parametrize("width", [1, 16, 33])
def test_what_is_saved_is_what_is_loaded(tmp_path, width):
    weights = student.create(width, jax.random.key(1))
    made = {"run": {"directory": 'a "b" ü'}, "teachers": [0, 1], "loss": 0.5}
    student_file.save(tmp_path / "new" / student_file.NAME, weights, made)
    for path in (tmp_path / "new", tmp_path / "new" / student_file.NAME):
        loaded, provenance = student_file.load(path)
        jax.tree.map(np.testing.assert_array_equal, loaded, jax.tree.map(np.asarray, weights))
        assert provenance == made


def test_the_file_has_the_documented_names(tmp_path):
    student_file.save(tmp_path / "a.npz", student.create(3, jax.random.key(0)), {})
    with np.load(tmp_path / "a.npz") as arrays:
        assert {name: arrays[name].shape for name in arrays.files if name != "provenance"} == NAMES
        assert {arrays[name].dtype for name in NAMES} == {np.dtype(np.float32)}


def test_a_directory_is_a_students_or_a_runs(tmp_path):
    assert not student_file.names_student(tmp_path / "nowhere")
    assert not student_file.names_student(tmp_path)
    (tmp_path / student_file.NAME).touch()
    assert student_file.names_student(tmp_path)
    assert student_file.names_student(tmp_path / student_file.NAME)
    (tmp_path / layout.RESULTS).touch()
    assert not student_file.names_student(tmp_path)


def changed(**arrays):
    """Returns a function that writes a student of width 3 with some arrays replaced, or without those that are None."""

    def write(path):
        content = {name: np.zeros(shape, np.float32) for name, shape in NAMES.items()} | {"provenance": np.array("{}")}
        content |= {name.replace("__", "/"): array for name, array in arrays.items()}
        np.savez(path, **{name: array for name, array in content.items() if array is not None})

    return write


def a_warm_start(path):
    layer = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
    warm_start.save(path, {"params": {"mlp": dict.fromkeys(("hidden_0", "hidden_1", "output"), layer)}}, {})


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_text("not a student"), "not a NumPy archive"),
        (a_warm_start, "not a student: holds no"),
        (changed(gru__hn__bias=None), "not a student: holds no gru/hn/bias"),
        (changed(provenance=None), "not a student: holds no provenance"),
        (changed(provenance=np.array("{")), "its provenance is not JSON"),
        (changed(provenance=np.array("[1]")), "its provenance is a JSON list, not an object"),
        (changed(gru__hr__kernel=np.zeros((3, 4), np.float32)), "gru/hr/kernel should be float32 of shape"),
        (changed(input__kernel=np.zeros((26, 3), np.float32)), "shape (22, 3), and is float32 of shape (26, 3)"),
        (changed(input__bias=np.zeros(0, np.float32)), "input/bias should be float32 of shape"),
        (changed(input__bias=np.zeros(10**6, np.float32)), "input/bias should be float32 of shape"),
        (changed(input__bias=np.zeros((3, 1), np.float32)), "input/bias should be float32 of shape"),
        (
            changed(output__bias=np.zeros(4)),
            "output/bias should be float32 of shape (4,), and is float64",
        ),
        (changed(output__bias=np.full(4, np.nan, np.float32)), "output/bias contains NaN or infinity"),
        (lambda path: np.savez(path, **{name: np.zeros(shape) for name, shape in NAMES.items()}), "no provenance"),
    ],
)
def test_invalid_file_is_refused_by_name(tmp_path, make, expected):
    path = tmp_path / "wrong.npz"
    make(path)
    message = rf"^.*{path}.*{re.escape(expected)}.*name a directory that distill wrote.*\Z"
    with pytest.raises(UserError, match=message):
        student_file.load(path)


def test_a_directory_without_a_student_is_refused_by_its_file(tmp_path):
    with pytest.raises(UserError, match=f"{student_file.NAME}: no such file"):
        student_file.load(tmp_path)


def test_an_archive_that_is_too_large_is_refused(tmp_path):
    save(tmp_path / "large.npz", {name: np.zeros((2**12, 2**11)) for name in NAMES}, {})
    with pytest.raises(UserError, match="bytes"):
        student_file.load(tmp_path / "large.npz")
