"""The actor with which a training begins: the packaged one, one's own, and invalid files."""

from pathlib import Path

import jax
import numpy as np
import pytest

from raptor_jax import cli, sac
from raptor_jax.commands import exit_status
from raptor_jax.config import Config, SacConfig, build
from raptor_jax.drones import sampling
from raptor_jax.errors import UserError
from raptor_jax.runs import stored_config, warm_start
from tests.runs.builder import results_of
from validation import faults

SHORT = {"training.steps-per-teacher": 64, "training.log-frequency": 16, "training.eval-frequency": 32}
OPTIONS = [f"--{key}={value}" for key, value in (faults.RUNS["windows"] | SHORT).items()]


def named(start):
    return build({}, {"training.start": str(start)}, "test")


def actor(**settings):
    return sac.create(SacConfig(**settings), jax.random.key(1)).actor


def test_the_shipped_start_fits_the_default_settings_and_has_provenance():
    actor = warm_start.load(Config())
    expected = jax.eval_shape(lambda: sac.create(Config().sac, jax.random.key(0)).actor)
    assert jax.tree.map(np.shape, actor) == jax.tree.map(np.shape, expected)
    made = warm_start.provenance("packaged")
    assert build(stored_config.translate(made["config"]), {}, "provenance").sac.horizon == 200
    assert made["curve"][-1]["share_passing"] > 0.8
    assert {"jax", "python"} <= made["versions"].keys()


@pytest.mark.parametrize("overrides", [{"training.start": "scratch"}, {"sac.horizon": 0}])
def test_nothing_is_loaded_if_no_start_is_needed(overrides):
    assert warm_start.load(build({}, overrides, "test")) is None


def test_what_is_saved_is_what_is_loaded(tmp_path):
    warm_start.save(tmp_path / "own.npz", actor(), {"seed": 1})
    jax.tree.map(np.testing.assert_array_equal, warm_start.load(named(tmp_path / "own.npz")), actor())
    assert warm_start.provenance(str(tmp_path / "own.npz")) == {"seed": 1}


class Harmful:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a start ran code",))


def lone_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def damaged(path):
    warm_start.save(path, actor(), {})
    content = bytearray(path.read_bytes())
    content[200:400] = bytes(200)
    path.write_bytes(content)


def pickled(path):
    np.savez(path, **{name: np.array(Harmful(), object) for name in ("hidden_0/kernel", "provenance")})


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_text("not a start"), "not a NumPy archive"),
        (lambda path: path.write_bytes(b"PK\x03\x04 cut"), "not a NumPy archive"),
        (lambda path: path.mkdir(), "not a file"),
        (lambda path: np.savez(path, a=1), "not a warm start"),
        (lone_array, "not a NumPy archive"),
        (damaged, "not a NumPy archive"),
        (pickled, "not a NumPy archive"),
        (lambda path: warm_start.save(path, actor(actor_hidden_dim=8), {}), "sac.actor_hidden_dim"),
        (
            lambda path: warm_start.save(path, jax.tree.map(lambda leaf: leaf * np.nan, actor()), {}),
            "contains NaN or infinity",
        ),
    ],
)
def test_invalid_file_is_refused_by_name(tmp_path, make, expected):
    path = tmp_path / "wrong.npz"
    make(path)
    with pytest.raises(UserError, match=rf"^.*{path}.*{expected}.*\Z"):
        warm_start.load(named(path))


@pytest.mark.slow
@pytest.mark.usefixtures("unoptimized")
def test_train_start_writes_what_train_begins_with(tmp_path, monkeypatch, capsys, refused):
    monkeypatch.chdir(tmp_path)
    sampling.write_drones(tmp_path / "dynamics", Config().sampling, 3)
    command = ["train-start", "--dynamics-dir", "dynamics", "--output", "own.npz", *OPTIONS]
    assert cli.main(command) == exit_status.PASSED
    assert "--training.start own.npz" in capsys.readouterr().out
    made = warm_start.provenance("own.npz")
    assert (made["drones"], made["updates"]) == (3, 4)
    assert [point["step"] for point in made["curve"]] == [32, 64]
    assert "own.npz: already exists" in refused(*command)

    training = ["--dynamics-dir", "dynamics", "--output-dir", "run", *OPTIONS, "--training.start", "own.npz"]
    assert cli.main(["train", *training, "--training.pass-return=-1e6"]) == exit_status.PASSED
    with np.load("run/curves.npz") as curves:
        assert np.all(np.isfinite(curves["eval_reward"]))
    assert results_of(Path("run"))["run"]["config"]["training"]["start"] == "own.npz"


def test_a_training_without_gradients_has_no_warm_start(tmp_path, refused):
    sampling.write_drones(tmp_path / "dynamics", Config().sampling, 1)
    output = tmp_path / "own.npz"
    line = refused("train-start", "--dynamics-dir", tmp_path / "dynamics", "--output", output, "--sac.horizon", 0)
    assert line.startswith("error: sac.horizon: 0 learns without a warm start")


# Root may write into any directory but one of the kernel.
@pytest.mark.parametrize("output", ["file/own.npz", "file/starts/own.npz", "/proc/own.npz"])
def test_an_output_that_cannot_be_written_is_refused_before_the_training(tmp_path, monkeypatch, refused, output):
    monkeypatch.setattr("raptor_jax.training.warm_start.pooled.create", lambda *_: pytest.fail("trains"))
    sampling.write_drones(tmp_path / "dynamics", Config().sampling, 1)
    (tmp_path / "file").write_text("")
    output = tmp_path / output
    line = refused("train-start", "--dynamics-dir", tmp_path / "dynamics", "--output", output, *OPTIONS)
    assert line.startswith(f"error: --output: {output}: cannot be written")
    assert "name" in line
