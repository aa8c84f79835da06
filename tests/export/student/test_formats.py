"""The exported student, run by the target software, compared with the network in JAX over 500 steps."""

import json
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
from tests.export.files import compiled_actions, documented, export, listing, provenance
from tests.export.student.networks import PROVENANCE, PUBLISHED, fly, published, random_student

FILES = {"npz": "student.npz", "onnx": "student.onnx", "rltools-h5": "student.h5", "c": "student.h"}


@pytest.fixture(scope="module")
def exported(home, tmp_path_factory) -> dict[str, Path]:
    """The file of each format."""
    found = {}
    for format, name in FILES.items():
        (found[format],) = export(home, format, tmp_path_factory.mktemp(format))
        assert found[format].name == name
    return found


def require_close(actions, expected):
    np.testing.assert_allclose(actions, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("named", [".", student_file.NAME], ids=["directory", "file"])
def test_it_is_written_next_to_the_student_by_default(exported, home, tmp_path, capsys, named):
    directory = tmp_path / "distilled"
    student_file.save(directory / student_file.NAME, *student_file.load(home / student_file.NAME))
    assert cli.main(["export", str(directory / named), "--format", "rltools-h5"]) == exit_status.PASSED
    written = directory / "export" / "rltools-h5" / "student.h5"
    assert f"wrote {written}" in capsys.readouterr().out
    with h5py.File(written) as again, h5py.File(exported["rltools-h5"]) as before:
        assert listing(again) == listing(before)


@pytest.mark.parametrize("format", FILES)
def test_every_file_contains_the_provenance(exported, format):
    assert provenance(exported[format]) == PROVENANCE


def test_the_archive_is_a_students_file(exported, weights):
    loaded, about = student_file.load(exported["npz"])
    jax.tree.map(np.testing.assert_array_equal, loaded, weights)
    assert about == PROVENANCE


def test_the_documented_class_flies_the_archive(exported, flight):
    student = documented("hand_on_student.md")["Student"]
    for episode in range(2):
        policy = student(exported["npz"])
        actions = [policy.act(observation) for observation in flight.observations[:, episode]]
        require_close(actions, flight.actions[:, episode])


@pytest.mark.parametrize("width", [5, 16])
def test_onnxruntime_flies_the_model(flight, tmp_path, width):
    weights = random_student(width)
    student_file.save(tmp_path / student_file.NAME, weights, {})
    (path,) = export(tmp_path, "onnx", tmp_path / "out")
    session = onnxruntime.InferenceSession(path)
    shapes = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
    memories = {"memory": ["batch", width], "next_memory": ["batch", width]}
    assert shapes == {"observation": ["batch", 22], "action": ["batch", 4], **memories}
    memory, flown = np.zeros((2, width), np.float32), []
    for observation in flight.observations:
        action, memory = session.run(["action", "next_memory"], {"observation": observation, "memory": memory})
        flown.append(action)
    require_close(flown, fly(weights, flight.observations))


def test_the_compiled_header_flies(exported, flight, tmp_path):
    # Each of the two episodes in turn takes a step, with a state of its own.
    begin = "raptor_student_reset(&states[0]); raptor_student_reset(&states[1]); int i = 0;"
    act = "raptor_student_action(&states[i], observation, action); i = !i;"
    given = np.concatenate([flight.observations, np.full_like(flight.observations[:1], np.nan)])
    acted = compiled_actions(exported["c"], tmp_path, given, act, f"raptor_student_state states[2]; {begin}")
    require_close(acted[:-1], flight.actions)
    assert np.isnan(acted[-1]).all()


def test_the_packages_loader_flies_the_checkpoint(exported, flight):
    # The loader also compares the file's example with what it computes.
    policy = foundation_policy.load(exported["rltools-h5"])
    assert policy.checkpoint_name == "distilled/student"
    policy.reset()
    require_close([policy.evaluate_step(observation) for observation in flight.observations], flight.actions)
    require_close(policy.evaluate(flight.observations), flight.actions)


def test_the_checkpoint_has_the_groups_attributes_and_types_of_the_published_one(exported):
    with h5py.File(exported["rltools-h5"]) as ours, h5py.File(PUBLISHED) as theirs:
        found, expected = listing(ours), listing(theirs)
        for one in (found, expected):
            one["actor"][1].pop("checkpoint_name")
            one["actor"][1]["meta"] = json.loads(one["actor"][1]["meta"])["environment"]
        assert found == expected
        for name in ("example/input", "actor/layers/1/biases_input/parameters"):
            assert ours[name].dtype == theirs["example/input"].dtype


def test_our_network_computes_the_published_policys_example():
    with h5py.File(PUBLISHED) as file:
        require_close(fly(published(), file["example/input"][()]), file["example/output"][()])


def test_a_path_that_is_neither_a_student_nor_a_run(tmp_path, refused):
    assert str(tmp_path) in refused("export", tmp_path, "--format", "onnx")
    (tmp_path / student_file.NAME).write_text("cut")
    assert f"{student_file.NAME}: not a NumPy archive" in refused("export", tmp_path, "--format", "onnx")


def test_a_directory_with_results_is_a_run(tmp_path, refused):
    student_file.save(tmp_path / student_file.NAME, random_student(16), {})
    (tmp_path / layout.RESULTS).write_text("{}")
    assert "name the output directory of a run" in refused("export", tmp_path, "--format", "npz")
