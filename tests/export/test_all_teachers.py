"""All teachers of a run in one file."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import sac
from raptor_jax.errors import UserError
from raptor_jax.export import all_teachers
from raptor_jax.export.teacher import read_teachers
from raptor_jax.runs import layout
from tests.export.files import documented, export, provenance
from tests.export.run import NAMES, SETTINGS

OBSERVATIONS = 0.3 * np.random.default_rng(3).standard_normal((100, 26), np.float32)


@pytest.fixture(scope="module")
def path(run, tmp_path_factory):
    (path,) = export(run, "npz-all", tmp_path_factory.mktemp("all"))
    return path


def test_the_documented_function_flies_every_teacher_nearly_as_in_float32(path, actors):
    action = documented("export.md")["action"]
    with np.load(path) as file:
        assert file["teacher_id"].tolist() == list(range(len(NAMES)))
        for row in range(len(NAMES)):
            teacher = {name: file[name][row].astype(np.float32) for name in file.files if "/" in name}
            actor = jax.tree.map(lambda leaf, row=row: leaf[row], actors)
            expected = sac.deterministic_action(SETTINGS.sac, actor, jnp.asarray(OBSERVATIONS))
            np.testing.assert_allclose(action(teacher, OBSERVATIONS), expected, atol=5e-3)


def test_a_thousand_fit_16_mb_and_each_is_described(run, path):
    results = json.loads((run / layout.RESULTS).read_text())
    with np.load(path) as file:
        assert 1000 * sum(file[name].nbytes for name in file.files if "/" in name) / len(NAMES) < 16e6
    about = provenance(path)
    assert about["teachers"] == results["teachers"]
    assert about["run"]["versions"] == results["run"]["versions"]


def test_a_weight_beyond_float16_is_refused(run, tmp_path):
    teacher = read_teachers(run, 1)[0]
    teacher = teacher._replace(actor=jax.tree.map(lambda leaf: leaf * 1e6, teacher.actor))
    with pytest.raises(UserError, match=r"teacher_0001: .*: .* is above 65504"):
        all_teachers.write(tmp_path / "teachers.npz", [teacher])
    assert not list(tmp_path.iterdir())
