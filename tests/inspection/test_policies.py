"""The command `inspect` on the student's file and on exported policies."""

import io
import json
import sys
import tarfile
from importlib import resources

import h5py
import jax
import numpy as np
import pytest

from raptor_jax import cli, student
from raptor_jax.commands import exit_status
from raptor_jax.runs import student_file
from tests.export.test_formats import refusal
from tests.inspection.test_inspection import described, shown

WIDTH = 16
PARAMETERS = 2036
PROVENANCE = {"run": {"directory": "r"}, "seconds": 1.5}
FILES = {"onnx": "student.onnx", "rltools-h5": "student.h5", "c": "student.h", "px4": "policy.tar"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The directory of a student, with its exported files."""
    home = tmp_path_factory.mktemp("inspected") / "student"
    student_file.save(home / student_file.NAME, student.create(WIDTH, jax.random.key(0)), PROVENANCE)
    for format in FILES:
        assert cli.main(["export", str(home), "--format", format, "--output", str(home)]) == exit_status.PASSED
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


@pytest.mark.parametrize("format", FILES)
def test_an_exported_student_shows_the_same(capsys, home, format):
    path = home / FILES[format]
    found = described(capsys, path)
    assert (found["kind"], found["policy"], found["format"]) == ("exported", "student", format)
    assert (found["width"], found["parameters"], found["provenance"]) == (WIDTH, PARAMETERS, PROVENANCE)
    assert [22 in array["shape"] for array in found["arrays"]].count(True) == 1
    assert f"a student with a width of 16 as {format}, 2,036 parameters" in shown(capsys, path)


@pytest.mark.parametrize(("format", "ending"), [("onnx", "onnx"), ("rltools-h5", "h5"), ("c", "h")])
def test_an_exported_teacher(capsys, run_of_4, tmp_path, format, ending):
    assert cli.main(["export", str(run_of_4), "--format", format, "--output", str(tmp_path)]) == exit_status.PASSED
    capsys.readouterr()
    found = described(capsys, tmp_path / f"teacher_0001.{ending}")
    assert (found["policy"], found["format"], found["width"]) == ("teacher", format, None)
    assert found["provenance"]["teacher"]["teacher_id"] == 1
    outputs = 8 if format == "rltools-h5" else 4
    assert found["parameters"] == (26 + 1) * 64 + (64 + 1) * 64 + (64 + 1) * outputs


def test_the_published_policy_is_recognised_as_foreign(capsys):
    found = described(capsys, resources.files("foundation_policy") / "blob" / "checkpoint.h5")
    assert (found["policy"], found["provenance"], found["width"]) == (None, None, 16)
    assert found["parameters"] == 2084
    shown_text = shown(capsys, resources.files("foundation_policy") / "blob" / "checkpoint.h5")
    assert "a policy that is not from raptor_jax with a width of 16" in shown_text


def damaged_h5(path):
    with h5py.File(path, "w") as file:
        file["other"] = 1


def no_actor(path):
    with tarfile.open(path, "w"):
        pass


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
        *((f"a{suffix}", lambda path: None, "no such file") for suffix in (".onnx", ".h5", ".h", ".tar")),
        *(
            (f"a{suffix}", lambda path: path.write_bytes(b"\xff\x00 cut"), "not readable as")
            for suffix in (".onnx", ".h5", ".h", ".tar")
        ),
        ("a.h5", damaged_h5, "not readable as rltools-h5"),
        ("a.h", lambda path: path.write_text("int x;\n"), "does not begin with a comment of raptor_jax"),
        ("a.tar", no_actor, "holds no weights of an actor"),
        ("a.tar", sparse, "holds no weights of an actor"),
        ("a.tar", lambda path: path.mkdir(), "contains no results.json"),
        ("a.npz", lambda path: np.savez(path, **{"input/bias": np.zeros(3)}), "not a student: holds no"),
        ("a.npz", lambda path: np.savez(path, a=1), "not a warm start: holds no"),
    ],
)
def test_invalid_files_are_refused_by_name(capsys, tmp_path, name, make, expected):
    make(tmp_path / name)
    line = refusal(capsys, "inspect", tmp_path / name)
    assert str(tmp_path / name) in line
    assert expected in line


@pytest.mark.parametrize(("format", "package"), [("onnx", "onnx"), ("rltools-h5", "h5py")])
def test_a_package_that_is_not_installed(capsys, home, monkeypatch, format, package):
    monkeypatch.setitem(sys.modules, package, None)
    line = refusal(capsys, "inspect", home / FILES[format])
    assert f"needs the package {package}; install raptor-jax[export]" in line
