"""All teachers of a run in one file."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import cli, sac
from raptor_jax.commands import exit_status
from raptor_jax.errors import UserError
from raptor_jax.export import all_teachers
from raptor_jax.export.teacher import read_teachers
from raptor_jax.runs import layout
from tests.export.run import NAMES, SETTINGS
from tests.export.test_formats import DOCUMENTATION

OBSERVATIONS = 0.3 * np.random.default_rng(3).standard_normal((100, 26), np.float32)


@pytest.fixture(scope="module")
def path(run, tmp_path_factory):
    output = tmp_path_factory.mktemp("all")
    assert cli.main(["export", str(run), "--format", "npz-all", "--output", str(output)]) == exit_status.PASSED
    (path,) = output.iterdir()
    return path


def test_the_documented_function_flies_every_teacher_nearly_as_in_float32(path, actors):
    namespace: dict = {}
    exec(re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)[0], namespace)
    with np.load(path) as file:
        assert file["teacher_id"].tolist() == list(range(len(NAMES)))
        for row in range(len(NAMES)):
            teacher = {name: file[name][row].astype(np.float32) for name in file.files if "/" in name}
            actor = jax.tree.map(lambda leaf, row=row: leaf[row], actors)
            expected = sac.deterministic_action(SETTINGS.sac, actor, jnp.asarray(OBSERVATIONS))
            np.testing.assert_allclose(namespace["action"](teacher, OBSERVATIONS), expected, atol=5e-3)


def test_a_thousand_fit_16_mb_and_each_is_described(run, path):
    results = json.loads((run / layout.RESULTS).read_text())
    with np.load(path) as file:
        weights = sum(file[name].nbytes for name in file.files if "/" in name)
        provenance = json.loads(str(file["provenance"]))
    assert 1000 * weights / len(NAMES) < 16e6
    assert provenance["teachers"] == results["teachers"]
    assert provenance["run"]["versions"] == results["run"]["versions"]


def test_inspect_shows_the_weights_of_all_teachers(path, capsys):
    assert cli.main(["inspect", str(path), "--json"]) == exit_status.PASSED
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "teachers"
    assert found["arrays"][0]["name"] == "hidden_0/bias"
    assert found["arrays"][0]["shape"][0] == len(NAMES)
    assert len(found["provenance"]["teachers"]) == len(NAMES)


def test_one_teacher_is_refused(run, tmp_path, capsys):
    command = ["export", str(run), "--format", "npz-all", "--teacher", "1", "--output", str(tmp_path / "none")]
    assert cli.main(command) == exit_status.USAGE
    assert "--teacher 1: npz-all exports all teachers" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_weight_beyond_float16_is_refused(run, tmp_path):
    teacher = read_teachers(run, 1)[0]
    teacher = teacher._replace(actor=jax.tree.map(lambda leaf: leaf * 1e6, teacher.actor))
    with pytest.raises(UserError, match=r"teacher_0001: .*: .* is above 65504"):
        all_teachers.write(tmp_path / "teachers.npz", [teacher])
    assert not list(tmp_path.iterdir())
