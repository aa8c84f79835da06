"""Exported teachers, run by the target software, compared with the actor in JAX."""

import hashlib
import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest

from raptor_jax import cli, sac
from raptor_jax.commands import exit_status
from raptor_jax.runs import layout, warm_start
from tests.export.compilers import COMPILE, compiled_c
from tests.export.run import NAMES, SETTINGS, STEP

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "export.md"
OBSERVATIONS = 0.3 * np.random.default_rng(2).standard_normal((100, 26), np.float32)
ENDINGS = {"npz": "npz", "onnx": "onnx", "rltools-h5": "h5", "c": "h"}


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory) -> dict[str, list[Path]]:
    """The files of all teachers, by format."""
    paths = {}
    for format, ending in ENDINGS.items():
        output = tmp_path_factory.mktemp(format)
        assert cli.main(["export", str(run), "--format", format, "--output", str(output)]) == exit_status.PASSED
        paths[format] = [output / f"teacher_{teacher:04d}.{ending}" for teacher in range(len(NAMES))]
        assert sorted(output.iterdir()) == paths[format]
    return paths


@pytest.fixture(scope="module")
def actions(actors) -> np.ndarray:
    """The actions [3, 100, 4] of all teachers at OBSERVATIONS."""
    found = jax.vmap(lambda actor: sac.deterministic_action(SETTINGS.sac, actor, jnp.asarray(OBSERVATIONS)))(actors)
    # Teachers must differ, or a mix-up would not show; and tanh must not hide everything.
    assert np.abs(found[0] - found[1]).max() > 0.1
    assert np.mean(np.abs(found) < 0.99) > 0.5
    return np.asarray(found)


def provenances(exported) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {format: [] for format in ENDINGS}
    for path in exported["npz"]:
        with np.load(path) as arrays:
            texts["npz"].append(str(arrays["provenance"]))
    for path in exported["onnx"]:
        texts["onnx"].append(onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map["provenance"])
    for path in exported["rltools-h5"]:
        with h5py.File(path) as file:
            texts["rltools-h5"].append(json.dumps(json.loads(file["actor"].attrs["meta"])["raptor_jax"]))
    for path in exported["c"]:
        texts["c"].append(re.search(r"^\{.*?^\}$", path.read_text(), re.DOTALL | re.MULTILINE).group())
    return texts


def test_every_file_contains_its_drone_returns_and_run(run, exported):
    entries = json.loads((run / layout.RESULTS).read_text())["teachers"]
    digest = hashlib.sha256(layout.config_file(run).read_bytes()).hexdigest()
    for texts in provenances(exported).values():
        for text, entry, name in zip(texts, entries, NAMES, strict=True):
            provenance = json.loads(text)
            assert provenance["teacher"] == entry
            assert provenance["teacher"]["drone"] == name
            assert provenance["teacher"]["mean_return"] is not None
            assert provenance["run"]["directory"] == "run"
            assert provenance["run"]["step"] == STEP
            assert provenance["run"]["config_sha256"] == digest


def test_one_teacher_is_written_into_the_run_by_default(run, exported, tmp_path, capsys):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (layout.RESULTS, layout.CHECKPOINTS):
        (copy / name).symlink_to(run / name)
    assert cli.main(["export", str(copy), "--format", "c", "--teacher", "1"]) == exit_status.PASSED
    (path,) = (copy / "export" / "c").iterdir()
    assert path.name == "teacher_0001.h"
    assert path.read_text().replace('"copy"', '"run"') == exported["c"][1].read_text()
    assert f"wrote 1 file to {path.parent}" in capsys.readouterr().out


def test_the_documented_function_runs_the_numpy_archive(exported, actions):
    code, _ = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    namespace: dict = {}
    exec(code, namespace)
    for path, expected in zip(exported["npz"], actions, strict=True):
        with np.load(path) as teacher:
            np.testing.assert_allclose(namespace["action"](teacher, OBSERVATIONS), expected, atol=1e-5)
            np.testing.assert_allclose(namespace["action"](teacher, OBSERVATIONS[0]), expected[0], atol=1e-5)


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
        assert metadata["drone"] == NAMES[teacher]
        assert metadata["teacher_id"] == str(teacher)
        assert float(metadata["mean_return"]) == entries[teacher]["mean_return"]


MAIN = """
#include <stdio.h>
#include "HEADER"

int main(void)
{
    float observation[26], action[4];
    while (fread(observation, sizeof observation, 1, stdin) == 1) {
        raptor_teacher_action(observation, action);
        fwrite(action, sizeof action, 1, stdout);
    }
    return 0;
}
"""


@pytest.mark.parametrize("teacher", range(len(NAMES)))
def test_the_compiled_header_acts_as_the_actor(exported, actions, tmp_path, teacher):
    program = compiled_c(tmp_path, MAIN.replace("HEADER", str(exported["c"][teacher])))
    broken = np.full((1, 26), np.nan, np.float32)
    given = np.concatenate([OBSERVATIONS, broken]).tobytes()
    out = subprocess.run([program], input=given, capture_output=True, check=True).stdout
    acted = np.frombuffer(out, np.float32).reshape(-1, 4)
    np.testing.assert_allclose(acted[:-1], actions[teacher], atol=1e-5, rtol=0)
    assert np.isnan(acted[-1]).all()


def test_the_header_needs_the_mathematics_of_c_only(exported, tmp_path):
    text = exported["c"][0].read_text()
    assert re.findall(r"#include.*", text) == ["#include <math.h>"]
    # A file that includes it and does not call it compiles without a warning, too.
    (tmp_path / "other.c").write_text(f'#include "{exported["c"][0]}"\nint unrelated(void);\n')
    subprocess.run([*COMPILE, "-c", str(tmp_path / "other.c"), "-o", str(tmp_path / "other.o")], check=True)


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


def listing(file: h5py.File) -> dict:
    found = {}
    file.visititems(lambda name, item: found.update({name: (getattr(item, "shape", None), dict(item.attrs))}))
    return found


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

    published = resources.files("foundation_policy") / "blob" / "checkpoint.h5"
    with h5py.File(str(published)) as theirs, h5py.File(exported["rltools-h5"][0]) as ours:
        assert storage(ours["actor/layers/0/input_layer"]) == storage(theirs["actor/layers/0"])
        assert sorted(ours["actor"].attrs) == sorted(theirs["actor"].attrs)
        assert ours["example/input"].dtype == theirs["example/input"].dtype


def test_an_rltools_checkpoint_computes_its_example_and_our_actions(exported, actions):
    for path, expected in zip(exported["rltools-h5"], actions, strict=True):
        with h5py.File(path) as file:

            def network(inputs: np.ndarray, mlp: h5py.Group = file["actor/layers/0"]) -> np.ndarray:
                values = inputs.T
                for name in ("input_layer", "hidden_layer_0", "output_layer"):
                    values = mlp[name]["weights/parameters"][()] @ values + mlp[name]["biases/parameters"][()].T
                    if mlp[name].attrs["activation_function"] == "RELU":
                        values = np.maximum(values, 0)
                return np.tanh(values[:4]).T

            np.testing.assert_allclose(network(OBSERVATIONS), expected, atol=1e-5)
            example = file["example"]
            np.testing.assert_allclose(network(example["input"][0]), example["output"][0], atol=1e-5)


def refusal(capsys, *arguments) -> str:
    """Runs a command that must be refused, and returns its one line."""
    assert cli.main([str(argument) for argument in arguments]) == exit_status.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_teacher_that_the_run_does_not_have(run, capsys):
    line = refusal(capsys, "export", run, "--format", "npz", "--teacher", 3)
    assert f"--teacher 3: {run} has the teachers 0 to 2" in line


@pytest.mark.parametrize(("format", "package"), [("onnx", "onnx"), ("rltools-h5", "h5py")])
def test_a_package_that_is_not_installed(run, capsys, monkeypatch, tmp_path, format, package):
    monkeypatch.setitem(sys.modules, package, None)
    for module in ("onnx_model", "rltools_checkpoint"):
        monkeypatch.delitem(sys.modules, f"raptor_jax.export.{module}", raising=False)
    line = refusal(capsys, "export", run, "--format", format, "--output", tmp_path / "out")
    assert f"--format {format}: needs the package {package}; install raptor-jax[export]" in line
    assert not (tmp_path / "out").exists()


def test_a_directory_that_cannot_be_written(run, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    line = refusal(capsys, "export", run, "--format", "c", "--output", tmp_path / "file")
    assert f"--output: {tmp_path / 'file'}: cannot be written" in line


@pytest.mark.parametrize("content", ['{"run": {}, "teachers": []}', '{"run": {"versions": {}}, "teachers": [1]}', "{}"])
def test_results_of_other_teachers(run, capsys, tmp_path, content):
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / layout.CHECKPOINTS).symlink_to(run / layout.CHECKPOINTS)
    (copy / layout.RESULTS).write_text(content)
    assert f"{copy / layout.RESULTS}: not the results of " in refusal(capsys, "export", copy, "--format", "c")
