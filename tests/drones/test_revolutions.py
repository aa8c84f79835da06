"""A thrust curve in revolutions a minute: the same drone as one in relative throttle, from its file to its teacher."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import evaluation
from raptor_jax.commands import exit_status
from raptor_jax.config import Config
from raptor_jax.drones.files import load_named, stack_for_training
from raptor_jax.inspection.drone_sheet import describe_sheet
from raptor_jax.runs import layout, warm_start
from tests.documentation import test_fly_your_own as small
from tests.drones.test_files import BY_HAND
from tests.runs.builder import results_of

pytestmark = pytest.mark.slow

MOST = 2000.0


@pytest.fixture(scope="module")
def drones(tmp_path_factory):
    """The drone twice: by its throttle from 0 to 1, and by its revolutions from 0 to 2000."""
    directory = tmp_path_factory.mktemp("drones")
    for name, most in (("relative", 1), ("revolutions", MOST)):
        curve = [0.1, 1.5 / most, 8.0 / most**2]
        text = BY_HAND.replace("[0, 1.5, 8]", f"{curve}\n  action_limit: {{min: 0, max: {most}}}")
        (directory / f"{name}.yaml").write_text(text)
    return load_named(directory.iterdir())


def test_derived_quantities_do_not_depend_on_the_unit(drones):
    relative, revolutions = (file.drone.dynamics for file in drones)
    np.testing.assert_allclose(revolutions.hovering_throttle_relative, relative.hovering_throttle_relative, rtol=1e-12)
    assert 0 < revolutions.hovering_throttle_relative < 1
    one, other = (describe_sheet(file.drone) for file in drones)
    assert one["warnings"] == other["warnings"] == []
    for quantity, same in zip(one["quantities"], other["quantities"], strict=True):
        assert same["value"] == pytest.approx(quantity["value"])


def test_both_fly_the_same_episodes(drones):
    stacked = jax.tree.map(jnp.asarray, stack_for_training(drones, Config().environment))
    actor = jax.tree.map(lambda leaf: jnp.stack([leaf] * 2), warm_start.load(Config()))
    found = evaluation.evaluate(Config(), actor, stacked, 8, evaluation.FINAL)
    assert found.mean_return[0] > 200
    np.testing.assert_allclose(found.mean_return[1], found.mean_return[0], rtol=1e-2)


@pytest.mark.usefixtures("unoptimized")
def test_a_teacher_is_trained_and_exported(drones, tmp_path):
    run = tmp_path / "run"
    files = [str(file.path) for file in drones]
    assert small.run(["train", "--drone", *files, "--output-dir", str(run)]) == exit_status.PASSED
    teachers = results_of(run)["teachers"]
    assert all(np.isfinite(teacher["mean_return"]) and not teacher["restarts"] for teacher in teachers)
    kept = json.loads((layout.drones(run) / "revolutions.json").read_text())
    assert kept["dynamics"]["action_limit"] == {"min": 0, "max": MOST}
    assert small.run(["export", str(run), "--format", "npz", "--output", str(tmp_path)]) == exit_status.PASSED
    for name in ("teacher_0000", "teacher_0001"):
        with np.load(tmp_path / f"{name}.npz") as exported:
            assert all(np.isfinite(exported[key]).all() for key in exported.files if key != "provenance")
