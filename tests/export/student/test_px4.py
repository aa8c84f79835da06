"""PX4's policy.tar, read by RLtools' own reader as in PX4's module (px4_module.cpp describes what is imitated)."""

import io
import json
import shutil
import subprocess
import tarfile
from importlib import metadata
from pathlib import Path

import foundation_policy
import numpy as np
import pytest

from raptor_jax.runs import student_file
from tests.export.files import export
from tests.export.student.networks import PROVENANCE, published, random_student

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
    """The program that imitates the module, of RLtools' headers."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    (header,) = (file for file in metadata.files("rltools") or [] if file.name == "rl_tools.h")
    headers = Path(str(header.locate())).resolve().parents[1]
    program = tmp_path_factory.mktemp("module") / "px4_module"
    command = ["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-isystem", headers]
    subprocess.run([*command, Path(__file__).with_name("px4_module.cpp"), "-o", program], check=True)
    return program


@pytest.fixture(scope="module")
def policy(home, tmp_path_factory) -> Path:
    (path,) = export(home, "px4", tmp_path_factory.mktemp("sd_card"))
    assert path.name == "policy.tar"
    return path


def policy_of(weights, directory: Path) -> Path:
    """Returns the exported file of other weights, whose name is that of a new directory."""
    student_file.save(directory / student_file.NAME, weights, {})
    return export(directory, "px4", directory / "out")[0]


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


def check(module: Path, policy: Path) -> tuple[str, float]:
    """Returns the name that the module shows, and by how much the example differs."""
    checked = subprocess.run([module, "check", policy], capture_output=True, text=True, check=True)
    name, difference = checked.stdout.splitlines()
    return name, float(difference)


def test_the_module_accepts_it(module, policy):
    name, difference = check(module, policy)
    assert name == "distilled/student"
    assert difference < 1e-6


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
    theirs = foundation_policy.Raptor()
    theirs.reset()
    expected = [theirs.evaluate_step(observation) for observation in flight.observations]
    ours = flown(module, policy_of(published(), tmp_path), flight.observations)
    np.testing.assert_allclose(ours, expected, atol=1e-5, rtol=0)


def test_equal_students_give_equal_files(home, policy, tmp_path):
    assert export(home, "px4", tmp_path)[0].read_bytes() == policy.read_bytes()


@pytest.mark.parametrize("name", ["a: b\nc", "ü" * 80, "x" * 200])
def test_any_name_of_a_directory_fits(weights, module, tmp_path, name):
    shown, _ = check(module, policy_of(weights, tmp_path / name))
    assert shown.isascii() and len(shown) < 100 and shown.endswith("/student")


def test_another_width_is_refused(tmp_path, refused):
    student_file.save(tmp_path / student_file.NAME, random_student(8), {})
    line = refused("export", tmp_path, "--format", "px4")
    assert "--format px4: this student has a width of 8, and PX4's module is compiled for 16" in line
    assert not (tmp_path / "export").exists()
