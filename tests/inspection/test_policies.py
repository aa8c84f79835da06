"""The command `inspect` on the student's file and on exported policies."""

import io
import json
import sys
import tarfile

import h5py
import jax
import numpy as np
import pytest

from raptor_jax import student
from raptor_jax.runs import student_file
from tests.export.files import export
from tests.export.student.networks import PUBLISHED
from tests.inspection.test_inspection import described, shown

WIDTH = 16
PARAMETERS = 2036
PROVENANCE = {"run": {"directory": "r"}, "seconds": 1.5}
FORMATS = ("onnx", "rltools-h5", "c", "px4")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The directory of a student, with an exported file of each format in a directory of its name."""
    home = tmp_path_factory.mktemp("inspected") / "student"
    student_file.save(home / student_file.NAME, student.create(WIDTH, jax.random.key(0)), PROVENANCE)
    for format in FORMATS:
        export(home, format, home / format)
    return home


@pytest.mark.parametrize("place", [".", student_file.NAME])
def test_a_student_shows_its_width_weights_and_provenance(capsys, home, place):
    found = described(capsys, home / place)
    assert (found["kind"], found["policy"], found["format"]) == ("student", "student", "npz")
    assert (found["width"], found["parameters"], found["provenance"]) == (WIDTH, PARAMETERS, PROVENANCE)
    arrays = {array["name"]: array["shape"] for array in found["arrays"]}
    assert arrays["gru/hn/kernel"] == [WIDTH, WIDTH]
    assert sum(array["bytes"] for array in found["arrays"]) == 4 * PARAMETERS
    text = shown(capsys, home / place)
    assert "a student with a width of 16, 2,036 parameters" in text
    assert "gru/hn/kernel" in text
    assert json.dumps(PROVENANCE) in text.replace("\n", "")


@pytest.mark.parametrize("format", FORMATS)
def test_an_exported_student_shows_the_same(capsys, home, format):
    (path,) = (home / format).iterdir()
    found = described(capsys, path)
    assert (found["kind"], found["policy"], found["format"]) == ("exported", "student", format)
    assert (found["width"], found["parameters"], found["provenance"]) == (WIDTH, PARAMETERS, PROVENANCE)
    assert [22 in array["shape"] for array in found["arrays"]].count(True) == 1
    assert f"a student with a width of 16 as {format}, 2,036 parameters" in shown(capsys, path)


@pytest.mark.parametrize(("format", "outputs"), [("onnx", 4), ("rltools-h5", 8), ("c", 4)])
def test_an_exported_teacher(capsys, run_of_4, tmp_path, format, outputs):
    found = described(capsys, export(run_of_4, format, tmp_path)[1])
    assert (found["policy"], found["format"], found["width"]) == ("teacher", format, None)
    assert found["provenance"]["teacher"]["teacher_id"] == 1
    assert found["parameters"] == (26 + 1) * 64 + (64 + 1) * 64 + (64 + 1) * outputs


def test_all_teachers_in_one_file(capsys, run_of_4, tmp_path):
    found = described(capsys, *export(run_of_4, "npz-all", tmp_path))
    assert (found["kind"], len(found["provenance"]["teachers"])) == ("teachers", 4)
    assert (found["arrays"][0]["name"], found["arrays"][0]["shape"][0]) == ("hidden_0/bias", 4)


def test_the_published_policy_is_recognised_as_foreign(capsys):
    found = described(capsys, PUBLISHED)
    assert (found["policy"], found["provenance"], found["width"]) == (None, None, 16)
    assert found["parameters"] == 2084
    assert "a policy that is not from raptor_jax with a width of 16" in shown(capsys, PUBLISHED)


def sparse(path):
    """An entry of a few bytes that unpacks to a terabyte of zeros."""
    entry = tarfile.TarInfo("a")
    entry.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "actor/parameters/meta",
        "GNU.sparse.realsize": str(2**40),
    }
    entry.size = 512
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(entry, io.BytesIO(b"0\n".ljust(512, b"\0")))


@pytest.mark.parametrize(
    ("name", "make", "expected"),
    [
        *(
            (f"a{suffix}", make, expected)
            for suffix in (".onnx", ".h5", ".h", ".tar")
            for make, expected in (
                (lambda path: None, "no such file"),
                (lambda path: path.write_bytes(b"\xff\x00 cut"), "not readable as"),
            )
        ),
        ("a.h5", lambda path: h5py.File(path, "w").close(), "not readable as rltools-h5"),
        ("a.h", lambda path: path.write_text("int x;\n"), "does not begin with a comment of raptor_jax"),
        ("a.tar", lambda path: tarfile.open(path, "w").close(), "holds no weights of an actor"),
        ("a.tar", sparse, "holds no weights of an actor"),
        ("a.tar", lambda path: path.mkdir(), "contains no results.json"),
        ("a.npz", lambda path: np.savez(path, **{"input/bias": np.zeros(3)}), "not a student: holds no"),
        ("a.npz", lambda path: np.savez(path, a=1), "not a warm start: holds no"),
    ],
)
def test_invalid_files_are_refused_by_name(refused, tmp_path, name, make, expected):
    make(tmp_path / name)
    line = refused("inspect", tmp_path / name)
    assert str(tmp_path / name) in line
    assert expected in line


@pytest.mark.parametrize(("format", "package"), [("onnx", "onnx"), ("rltools-h5", "h5py")])
def test_a_package_that_is_not_installed(refused, home, monkeypatch, format, package):
    monkeypatch.setitem(sys.modules, package, None)
    (path,) = (home / format).iterdir()
    assert f"needs the package {package}; install raptor-jax[export]" in refused("inspect", path)
