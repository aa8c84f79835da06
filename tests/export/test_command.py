"""The command `export`, the same for teachers and for a student: what it refuses, and its C headers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.export.files import COMPILE, export


@pytest.fixture(params=["run", "home"], ids=["teachers", "student"])
def source(request) -> Path:
    """A run and a student's directory; not to be written into."""
    return request.getfixturevalue(request.param)


def test_a_header_needs_the_mathematics_of_c_only(source, tmp_path):
    header = export(source, "c", tmp_path / "out")[0]
    assert re.findall(r"#include.*", header.read_text()) == ["#include <math.h>"]
    # A file that includes it and does not call it compiles without a warning, too.
    (tmp_path / "other.c").write_text(f'#include "{header}"\nint unrelated(void);\n')
    subprocess.run([*COMPILE, "-c", tmp_path / "other.c", "-o", tmp_path / "other.o"], check=True)


@pytest.mark.parametrize(("format", "package"), [("onnx", "onnx"), ("rltools-h5", "h5py")])
def test_a_package_that_is_not_installed(source, refused, monkeypatch, tmp_path, format, package):
    monkeypatch.setitem(sys.modules, package, None)
    for module in [name for name in sys.modules if re.match(r"raptor_jax\.export\..*(onnx|h5|rltools)", name)]:
        monkeypatch.delitem(sys.modules, module)
    line = refused("export", source, "--format", format, "--output", tmp_path / "out")
    assert f"--format {format}: needs the package {package}; install raptor-jax[export]" in line
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written(source, refused, tmp_path):
    (tmp_path / "file").touch()
    line = refused("export", source, "--format", "c", "--output", tmp_path / "file")
    assert f"--output: {tmp_path / 'file'}: cannot be written" in line


@pytest.mark.parametrize(
    ("source", "options", "expected"),
    [
        ("run", ("npz", "--teacher", 3), "--teacher 3: {} has the teachers 0 to 2"),
        ("run", ("npz-all", "--teacher", 1), "--teacher 1: npz-all exports all teachers"),
        ("run", ("px4",), "--format px4: {} is not a student, and teachers observe rotor states"),
        ("home", ("npz", "--teacher", 3), "--teacher 3: {} is a student"),
        ("home", ("npz-all",), "--format npz-all: {} is a student, not a run of teachers"),
    ],
    indirect=["source"],
)
def test_options_that_do_not_go_together(source, refused, tmp_path, options, expected):
    line = refused("export", source, "--output", tmp_path / "out", "--format", *options)
    assert expected.format(source) in line
    assert not (tmp_path / "out").exists()
