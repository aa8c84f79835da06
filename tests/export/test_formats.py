"""Exported teachers, run by the target software, compared with the actor in JAX."""

import hashlib
import json
import shutil
from pathlib import Path

import foundation_policy
import h5py
import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest

from raptor_jax import cli, sac
from raptor_jax.commands import exit_status
from raptor_jax.runs import layout, warm_start
from tests.export.files import compiled_actions, documented, export, listing, provenance
from tests.export.run import NAMES, SETTINGS, STEP
from tests.export.student.networks import PUBLISHED

OBSERVATIONS = 0.3 * np.random.default_rng(2).standard_normal((100, 26), np.float32)
ENDINGS = {"npz": "npz", "onnx": "onnx", "rltools-h5": "h5", "c": "h"}


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> dict[str, list[Path]]:
    """The files of all teachers, by format."""
    found = {format: export(run, format, tmp_path_factory.mktemp(format)) for format in ENDINGS}
    for format, ending in ENDINGS.items():
        assert [path.name for path in found[format]] == [f"teacher_{row:04d}.{ending}" for row in range(len(NAMES))]
    return found


@pytest.fixture(scope="module")
def actions(actors) -> np.ndarray:
    """The actions [3, 100, 4] of all teachers at OBSERVATIONS."""
    found = jax.vmap(lambda actor: sac.deterministic_action(SETTINGS.sac, actor, jnp.asarray(OBSERVATIONS)))(actors)
    # Teachers must differ, or a mix-up would not show; and tanh must not hide everything.
    assert np.abs(found[0] - found[1]).max() > 0.1
    assert np.mean(np.abs(found) < 0.99) > 0.5
    return np.asarray(found)


@pytest.mark.parametrize("format", ENDINGS)
def test_every_file_contains_its_drone_returns_and_run(run, exported, format):
    entries = json.loads((run / layout.RESULTS).read_text())["teachers"]
    assert [entry["drone"] for entry in entries] == list(NAMES)
    assert all(entry["mean_return"] is not None for entry in entries)
    digest = hashlib.sha256(layout.config_file(run).read_bytes()).hexdigest()
    for path, entry in zip(exported[format], entries, strict=True):
        found = provenance(path)
        assert found["teacher"] == entry
        assert found["run"].items() >= {"directory": "run", "step": STEP, "config_sha256": digest}.items()


def test_one_teacher_is_written_into_the_run_by_default(run, exported, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "copy")
    assert cli.main(["export", str(copy), "--format", "c", "--teacher", "1"]) == exit_status.PASSED
    (path,) = (copy / "export" / "c").iterdir()
    assert path.name == "teacher_0001.h"
    assert path.read_text().replace('"copy"', '"run"') == exported["c"][1].read_text()
    assert f"wrote 1 file to {path.parent}" in capsys.readouterr().out


def test_the_documented_function_runs_the_numpy_archive(exported, actions):
    action = documented("export.md")["action"]
    for path, expected in zip(exported["npz"], actions, strict=True):
        with np.load(path) as teacher:
            np.testing.assert_allclose(action(teacher, OBSERVATIONS), expected, atol=1e-5)
            np.testing.assert_allclose(action(teacher, OBSERVATIONS[0]), expected[0], atol=1e-5)


def test_a_training_can_begin_with_a_numpy_archive(exported, actors):
    training = SETTINGS.training.model_copy(update={"start": str(exported["npz"][1])})
    loaded = warm_start.load(SETTINGS.model_copy(update={"training": training}))
    jax.tree.map(np.testing.assert_array_equal, loaded, jax.tree.map(lambda leaf: leaf[1], actors))


def test_onnxruntime_runs_the_model_at_any_batch(run, exported, actions):
    entries = json.loads((run / layout.RESULTS).read_text())["teachers"]
    for teacher, path in enumerate(exported["onnx"]):
        session = onnxruntime.InferenceSession(path)
        for batch in (1, len(OBSERVATIONS)):
            (action,) = session.run(["action"], {"observation": OBSERVATIONS[:batch]})
            np.testing.assert_allclose(action, actions[teacher, :batch], atol=1e-5)
        (inputs,), (outputs,) = session.get_inputs(), session.get_outputs()
        assert (inputs.name, inputs.shape) == ("observation", ["batch", 26])
        assert (outputs.name, outputs.shape) == ("action", ["batch", 4])
        metadata = session.get_modelmeta().custom_metadata_map
        assert (metadata["drone"], metadata["teacher_id"]) == (NAMES[teacher], str(teacher))
        assert float(metadata["mean_return"]) == entries[teacher]["mean_return"]


@pytest.mark.parametrize("teacher", range(len(NAMES)))
def test_the_compiled_header_acts_as_the_actor(exported, actions, tmp_path, teacher):
    given = np.concatenate([OBSERVATIONS, np.full_like(OBSERVATIONS[:1], np.nan)])
    acted = compiled_actions(exported["c"][teacher], tmp_path, given, "raptor_teacher_action(observation, action);")
    np.testing.assert_allclose(acted[:-1], actions[teacher], atol=1e-5, rtol=0)
    assert np.isnan(acted[-1]).all()


def matrix(rows: int, columns: int) -> tuple:
    return (rows, columns), {"type": "matrix", "rows": str(rows), "cols": str(columns)}


def dense(name: str, outputs: int, inputs: int, activation: str) -> dict:
    return {
        name: (None, {"type": "dense", "activation_function": activation}),
        f"{name}/weights": (None, {}),
        f"{name}/weights/parameters": matrix(outputs, inputs),
        f"{name}/biases": (None, {}),
        f"{name}/biases/parameters": matrix(1, outputs),
    }


def tensor(*shape: int) -> tuple:
    sizes = {f"dim_{axis}": str(size) for axis, size in enumerate(shape)}
    return shape, {"type": "tensor", "num_dims": str(len(shape)), **sizes}


# As RLtools' own `save` writes an actor of this shape (`actor` has two attributes more, of its training loop).
LISTING = {
    "actor": (None, {"type": "sequential"}),
    "actor/layers": (None, {}),
    "actor/layers/0": (None, {"type": "mlp", "num_layers": "3"}),
    **dense("actor/layers/0/input_layer", 64, 26, "RELU"),
    **dense("actor/layers/0/hidden_layer_0", 64, 64, "RELU"),
    **dense("actor/layers/0/output_layer", 8, 64, "IDENTITY"),
    "actor/layers/1": (None, {"type": "sample_and_squash"}),
    "example": (None, {}),
    "example/input": tensor(1, 64, 26),
    "example/output": tensor(1, 64, 4),
}


def test_an_rltools_checkpoint_has_the_groups_and_attributes_of_rltools(exported):
    for path in exported["rltools-h5"]:
        with h5py.File(path) as file:
            found = listing(file)
            assert found["actor"][1].pop("checkpoint_name") == f"run/{path.stem}"
            meta = json.loads(found["actor"][1].pop("meta"))
            assert meta["environment"]["name"] == "l2f"
            assert found == LISTING


def test_an_rltools_checkpoint_stores_as_the_published_one_does(exported):
    """RLtools reads without conversion: types, contiguous storage and kinds of strings must be its own."""

    def storage(layer: h5py.Group) -> list:
        kinds = []
        for part in ("weights/parameters", "biases/parameters"):
            dataset = layer[part]
            text = dataset.attrs.get_id("rows").get_type()
            kinds.append((dataset.dtype, dataset.ndim, dataset.chunks, dataset.compression, sorted(dataset.attrs)))
            kinds.append((text.is_variable_str(), text.get_cset(), dataset.attrs.get_id("rows").shape))
        return [*kinds, sorted(layer.attrs), sorted(layer)]

    with h5py.File(PUBLISHED) as theirs, h5py.File(exported["rltools-h5"][0]) as ours:
        assert storage(ours["actor/layers/0/input_layer"]) == storage(theirs["actor/layers/0"])
        assert sorted(ours["actor"].attrs) == sorted(theirs["actor"].attrs)
        assert ours["example/input"].dtype == theirs["example/input"].dtype


def test_an_rltools_checkpoint_computes_its_example_and_our_actions(exported, actions):
    def network(mlp: h5py.Group, values: np.ndarray) -> np.ndarray:
        for name in ("input_layer", "hidden_layer_0", "output_layer"):
            values = foundation_policy.DenseLayer(mlp[name]).evaluate(values)
        return np.tanh(values[:, :4])

    for path, expected in zip(exported["rltools-h5"], actions, strict=True):
        with h5py.File(path) as file:
            mlp, example = file["actor/layers/0"], file["example"]
            np.testing.assert_allclose(network(mlp, OBSERVATIONS), expected, atol=1e-5)
            np.testing.assert_allclose(network(mlp, example["input"][0]), example["output"][0], atol=1e-5)


@pytest.mark.parametrize("content", ['{"run": {}, "teachers": []}', '{"run": {"versions": {}}, "teachers": [1]}', "{}"])
def test_results_of_other_teachers(run, refused, tmp_path, content):
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / layout.RESULTS).write_text(content)
    assert f"{copy / layout.RESULTS}: not the results of " in refused("export", copy, "--format", "c")
