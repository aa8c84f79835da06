"""The exported student, run by the target software, compared with the network in JAX over 500 steps."""

import json
import re
import subprocess
import sys
from pathlib import Path

import foundation_policy
import h5py
import jax
import numpy as np
import onnxruntime
import pytest

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.runs import layout, student_file
from tests.export.compilers import COMPILE, compiled_c
from tests.export.student import published
from tests.export.student.conftest import EPISODES, PROVENANCE, STEPS, fly, random_student
from tests.export.test_formats import listing, refusal

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "hand_on_student.md"
FILES = {
    "npz": "student.npz",
    "onnx": "student.onnx",
    "rltools-h5": "student.h5",
    "c": "student.h",
    "px4": "policy.tar",
}


@pytest.fixture(scope="module")
def exported(home, tmp_path_factory) -> dict[str, Path]:
    """The file of each format."""
    output = tmp_path_factory.mktemp("exported")
    for format in FILES:
        arguments = ["export", str(home), "--format", format, "--output", str(output / format)]
        assert cli.main(arguments) == exit_status.PASSED
        assert [path.name for path in (output / format).iterdir()] == [FILES[format]]
    return {format: output / format / name for format, name in FILES.items()}


def assert_acts(actions, flight):
    np.testing.assert_allclose(actions, flight.actions, atol=1e-5, rtol=0)


@pytest.mark.parametrize("named", ["directory", "file"])
def test_it_is_written_next_to_the_student_by_default(exported, home, tmp_path, capsys, named):
    directory = tmp_path / "distilled"
    directory.mkdir()
    (directory / student_file.NAME).write_bytes((home / student_file.NAME).read_bytes())
    path = directory if named == "directory" else directory / student_file.NAME
    assert cli.main(["export", str(path), "--format", "rltools-h5"]) == exit_status.PASSED
    written = directory / "export" / "rltools-h5" / "student.h5"
    assert f"wrote {written}" in capsys.readouterr().out
    with h5py.File(written) as again, h5py.File(exported["rltools-h5"]) as before:
        assert listing(again) == listing(before)


def test_every_file_contains_the_provenance(exported):
    with h5py.File(exported["rltools-h5"]) as file:
        meta = json.loads(file["actor"].attrs["meta"])
    header = re.search(r"^\{.*?^\}$", exported["c"].read_text(), re.DOTALL | re.MULTILINE)
    texts = [
        onnxruntime.InferenceSession(exported["onnx"]).get_modelmeta().custom_metadata_map["provenance"],
        json.dumps(meta["raptor_jax"]),
        header.group(),
    ]
    assert [json.loads(text) for text in texts] == [PROVENANCE] * 3
    assert student_file.load(exported["npz"])[1] == PROVENANCE


def test_the_archive_is_a_students_file(exported, weights):
    loaded, _ = student_file.load(exported["npz"])
    jax.tree.map(np.testing.assert_array_equal, loaded, weights)


def test_the_documented_class_flies_the_archive(exported, flight):
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    namespace: dict = {}
    exec(code, namespace)
    for episode in range(EPISODES):
        policy = namespace["Student"](exported["npz"])
        actions = [policy.act(observation) for observation in flight.observations[:, episode]]
        np.testing.assert_allclose(actions, flight.actions[:, episode], atol=1e-5, rtol=0)


@pytest.mark.parametrize("width", [5, 16])
def test_onnxruntime_flies_the_model(exported, weights, flight, tmp_path, width):
    path, actions = exported["onnx"], flight.actions
    if width != 16:
        weights = random_student(width)
        student_file.save(tmp_path / student_file.NAME, weights, {})
        assert cli.main(["export", str(tmp_path), "--format", "onnx", "--output", str(tmp_path)]) == exit_status.PASSED
        path, actions = tmp_path / "student.onnx", fly(weights, flight.observations)
    session = onnxruntime.InferenceSession(path)
    shapes = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
    memories = {"memory": ["batch", width], "next_memory": ["batch", width]}
    assert shapes == {"observation": ["batch", 22], "action": ["batch", 4], **memories}
    memory, flown = np.zeros((EPISODES, width), np.float32), []
    for observation in flight.observations:
        action, memory = session.run(["action", "next_memory"], {"observation": observation, "memory": memory})
        flown.append(action)
    np.testing.assert_allclose(flown, actions, atol=1e-5, rtol=0)


MAIN = """
#include <stdio.h>
#include "HEADER"

int main(void)
{
    float observation[2][22], action[2][4];
    raptor_student_state states[2];
    raptor_student_reset(&states[0]);
    raptor_student_reset(&states[1]);
    while (fread(observation, sizeof observation, 1, stdin) == 1) {
        for (int i = 0; i < 2; i++) {
            raptor_student_action(&states[i], observation[i], action[i]);
        }
        fwrite(action, sizeof action, 1, stdout);
    }
    return 0;
}
"""


def test_the_compiled_header_flies(exported, flight, tmp_path):
    program = compiled_c(tmp_path, MAIN.replace("HEADER", str(exported["c"])))
    broken = np.full((1, EPISODES, 22), np.nan, np.float32)
    given = np.concatenate([flight.observations, broken]).tobytes()
    out = subprocess.run([program], input=given, capture_output=True, check=True).stdout
    acted = np.frombuffer(out, np.float32).reshape(STEPS + 1, EPISODES, 4)
    assert_acts(acted[:-1], flight)
    assert np.isnan(acted[-1]).all()


def test_the_header_needs_the_mathematics_of_c_only(exported, tmp_path):
    text = exported["c"].read_text()
    assert re.findall(r"#include.*", text) == ["#include <math.h>"]
    (tmp_path / "other.c").write_text(f'#include "{exported["c"]}"\nint unrelated(void);\n')
    subprocess.run([*COMPILE, "-c", str(tmp_path / "other.c"), "-o", str(tmp_path / "other.o")], check=True)


def test_the_packages_loader_flies_the_checkpoint(exported, flight):
    # The loader also compares the file's example with what it computes.
    policy = foundation_policy.load(exported["rltools-h5"])
    assert policy.checkpoint_name == "distilled/student"
    policy.reset()
    assert_acts([policy.evaluate_step(observation) for observation in flight.observations], flight)
    assert_acts(policy.evaluate(flight.observations), flight)


def test_the_checkpoint_has_the_groups_and_attributes_of_the_published_one(exported):
    with h5py.File(exported["rltools-h5"]) as ours, h5py.File(published.PATH) as theirs:
        found, expected = listing(ours), listing(theirs)
        for one in (found, expected):
            one["actor"][1].pop("checkpoint_name")
        environment = json.loads(expected["actor"][1].pop("meta"))["environment"]
        assert json.loads(found["actor"][1].pop("meta"))["environment"] == environment
        assert found == expected
        assert {item.dtype for item in (ours["example/input"], ours["actor/layers/1/biases_input/parameters"])} == {
            theirs["example/input"].dtype
        }


def test_our_network_computes_the_published_policys_example():
    with h5py.File(published.PATH) as file:
        inputs, outputs = file["example/input"][()], file["example/output"][()]
    np.testing.assert_allclose(fly(published.weights(), inputs), outputs, atol=1e-5, rtol=0)


def test_a_student_is_not_a_run(home, capsys):
    line = refusal(capsys, "export", home, "--format", "npz", "--teacher", 3)
    assert f"--teacher 3: {home} is a student" in line


def test_a_path_that_is_neither_a_student_nor_a_run(tmp_path, capsys):
    assert str(tmp_path) in refusal(capsys, "export", tmp_path, "--format", "onnx")
    (tmp_path / student_file.NAME).write_text("cut")
    assert f"{student_file.NAME}: not a NumPy archive" in refusal(capsys, "export", tmp_path, "--format", "onnx")


def test_a_directory_with_results_is_a_run(home, tmp_path, capsys):
    (tmp_path / student_file.NAME).write_bytes((home / student_file.NAME).read_bytes())
    (tmp_path / layout.RESULTS).write_text("{}")
    assert "name the output directory of a run" in refusal(capsys, "export", tmp_path, "--format", "npz")


@pytest.mark.parametrize(("format", "package"), [("onnx", "onnx"), ("rltools-h5", "h5py")])
def test_a_package_that_is_not_installed(home, capsys, monkeypatch, tmp_path, format, package):
    monkeypatch.setitem(sys.modules, package, None)
    for module in ("onnx_file", "h5_file", "student.onnx_model", "student.rltools_checkpoint"):
        monkeypatch.delitem(sys.modules, f"raptor_jax.export.{module}", raising=False)
    line = refusal(capsys, "export", home, "--format", format, "--output", tmp_path / "out")
    assert f"--format {format}: needs the package {package}; install raptor-jax[export]" in line
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written(home, capsys, tmp_path):
    (tmp_path / "file").touch()
    line = refusal(capsys, "export", home, "--format", "c", "--output", tmp_path / "file")
    assert f"--output: {tmp_path / 'file'}: cannot be written" in line
