"""PX4's policy.tar, read by RLtools' own reader as in PX4's module (px4_module.cpp describes what is imitated)."""

import io
import json
import subprocess
import tarfile
from pathlib import Path

import foundation_policy
import numpy as np
import pytest

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.runs import student_file
from tests.export.compilers import compiled_with_rltools
from tests.export.student import published
from tests.export.student.conftest import PROVENANCE, STEPS, random_student
from tests.export.test_formats import refusal

TENSORS = {
    "actor/layers/0/weights/parameters": (16, 22),
    "actor/layers/0/biases/parameters": (16,),
    "actor/layers/1/weights_input/parameters": (48, 16),
    "actor/layers/1/biases_input/parameters": (48,),
    "actor/layers/1/weights_hidden/parameters": (48, 16),
    "actor/layers/1/biases_hidden/parameters": (48,),
    "actor/layers/1/initial_hidden_state/parameters": (16,),
    "actor/layers/2/weights/parameters": (4, 16),
    "actor/layers/2/biases/parameters": (4,),
    "example/input": (500, 2, 22),
    "example/output": (500, 2, 4),
}
"""Of the published policy.tar (rl-tools/px4-blob, commit bc6683a), which has PATH/meta and PATH/data for each."""
ATTRIBUTES = {
    "actor/meta": "checkpoint_name: distilled/student\ntype: sequential\n",
    "actor/layers/0/meta": "activation_function: RELU\ntype: dense\n",
    "actor/layers/1/meta": "type: gru\n",
    "actor/layers/2/meta": "activation_function: IDENTITY\ntype: dense\n",
}
"""The same, but for the name."""


@pytest.fixture(scope="module")
def module(tmp_path_factory) -> Path:
    """The program that imitates the module."""
    return compiled_with_rltools(tmp_path_factory.mktemp("module"), Path(__file__).with_name("px4_module.cpp"))


@pytest.fixture(scope="module")
def policy(home, tmp_path_factory) -> Path:
    return exported(home, tmp_path_factory.mktemp("sd_card"))


def exported(path: Path, output: Path) -> Path:
    assert cli.main(["export", str(path), "--format", "px4", "--output", str(output)]) == exit_status.PASSED
    return output / "policy.tar"


def entries(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}


def flown(module: Path, policy: Path, observations: np.ndarray) -> np.ndarray:
    """Returns the actions [T, B, 4] of RLtools' network at observations [T, B, 22], one episode after the other."""
    outputs = [
        subprocess.run([module, "fly", policy], input=episode.tobytes(), capture_output=True, check=True).stdout
        for episode in np.moveaxis(observations, 1, 0)
    ]
    return np.stack([np.frombuffer(output, np.float32).reshape(-1, 4) for output in outputs], axis=1)


def test_the_module_accepts_it(module, policy):
    checked = subprocess.run([module, "check", policy], capture_output=True, text=True, check=True)
    name, difference = checked.stdout.splitlines()
    assert name == "distilled/student"
    assert float(difference) < 1e-6


def test_rltools_flies_it_as_jax_does(module, policy, flight):
    np.testing.assert_allclose(flown(module, policy, flight.observations), flight.actions, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", [name for name in TENSORS if not name.startswith("example")])
def test_the_module_refuses_it_with_a_damaged_weight(module, policy, tmp_path, name):
    damaged = tmp_path / "policy.tar"
    with tarfile.open(damaged, "w", format=tarfile.USTAR_FORMAT) as archive:
        for entry, content in entries(policy).items():
            if entry == f"{name}/data":
                content = (np.frombuffer(content, np.float32) + np.float32(0.01)).tobytes()
            about = tarfile.TarInfo(entry)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    assert subprocess.run([module, "check", damaged], capture_output=True).returncode == 1


def test_it_has_the_entries_of_the_published_one(policy, weights, flight):
    found = entries(policy)
    assert json.loads(found.pop("raptor_jax/provenance")) == PROVENANCE
    for name, shape in TENSORS.items():
        sizes = "".join(f"dim_{axis}: {size}\n" for axis, size in enumerate(shape))
        meta = f"type: tensor\ndtype: float32\nnum_dims: {len(shape)}\n{sizes}"
        assert found.pop(f"{name}/meta").decode() == meta
        assert len(found.pop(f"{name}/data")) == 4 * np.prod(shape)
    assert {name: content.decode() for name, content in found.items()} == ATTRIBUTES


def test_rltools_writes_the_same_entries(module, policy, tmp_path):
    saved = tmp_path / "saved.tar"
    if subprocess.run([module, "save", policy, saved]).returncode == 2:
        pytest.skip("this version of RLtools reads from files; the program does not save with it")
    ours = {name: content for name, content in entries(policy).items() if name.startswith("actor/")}
    theirs = entries(saved)
    # The name of the checkpoint is set by RLtools' training loop.
    assert ours.pop("actor/meta").endswith(theirs.pop("actor/meta"))
    assert list(ours) == list(theirs)
    assert ours == theirs


def test_the_published_policy_acts_the_same_after_export(module, flight, tmp_path):
    student_file.save(tmp_path / "student.npz", published.weights(), {})
    theirs = foundation_policy.Raptor()
    theirs.reset()
    expected = [theirs.evaluate_step(observation) for observation in flight.observations]
    ours = flown(module, exported(tmp_path, tmp_path), flight.observations)
    assert ours.shape == (STEPS, 2, 4)
    np.testing.assert_allclose(ours, expected, atol=1e-5, rtol=0)


def test_equal_students_give_equal_files(home, policy, tmp_path):
    assert exported(home, tmp_path).read_bytes() == policy.read_bytes()


@pytest.mark.parametrize("name", ["a: b\nc", "ü" * 80, "x" * 200])
def test_any_name_of_a_directory_fits(weights, module, tmp_path, name):
    student_file.save(tmp_path / name / student_file.NAME, weights, {})
    checked = subprocess.run(
        [module, "check", exported(tmp_path / name, tmp_path)], capture_output=True, text=True, check=True
    )
    shown = checked.stdout.splitlines()[0]
    assert shown.isascii() and len(shown) < 100 and shown.endswith("/student")


def test_another_width_is_refused(tmp_path, capsys):
    student_file.save(tmp_path / student_file.NAME, random_student(8), {})
    line = refusal(capsys, "export", tmp_path, "--format", "px4")
    assert "--format px4: this student has a width of 8, and PX4's module is compiled for 16" in line
    assert not (tmp_path / "export").exists()


def test_teachers_are_refused(run, capsys, tmp_path):
    line = refusal(capsys, "export", run, "--format", "px4", "--output", tmp_path / "out")
    assert f"--format px4: {run} is not a student, and teachers observe rotor states" in line
    assert not (tmp_path / "out").exists()
