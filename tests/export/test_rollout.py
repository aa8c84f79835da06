"""The flights of teachers as a data set: the same as `evaluate` flies, whole, and one file for each teacher."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import cli, sac
from raptor_jax.commands import exit_status
from raptor_jax.drones import files
from raptor_jax.runs import layout
from raptor_jax.simulator import ACTION_DIM, OBSERVATION_DIM
from tests.export.run import CRASHING, NAMES, SETTINGS

EPISODES, STEPS = SETTINGS.training.final_eval_episodes, SETTINGS.environment.episode_steps


def roll_out(run, output, *arguments) -> tuple[dict, list[dict[str, np.ndarray]]]:
    """Returns the index and the arrays of each teacher."""
    options = ["--device", "cpu", "--output", str(output), *map(str, arguments)]
    assert cli.main(["rollout", str(run), *options]) == exit_status.PASSED
    index = json.loads((output / "dataset.json").read_text())
    paths = [output / entry["file"] for entry in index["teachers"]]
    assert sorted(output.iterdir()) == [output / "dataset.json", *paths]
    return index, [dict(np.load(path)) for path in paths]


@pytest.fixture(scope="module")
def dataset(run, tmp_path_factory) -> tuple[dict, list[dict[str, np.ndarray]]]:
    return roll_out(run, tmp_path_factory.mktemp("rollouts"))


@pytest.fixture(scope="module")
def flown(dataset) -> list[dict[str, np.ndarray]]:
    return dataset[1]


def require_equal(entries: list[dict], teachers: list[dict[str, np.ndarray]], evaluated: list[dict]) -> None:
    """Requires the returns, lengths and ends of the data set, index included, to be those of an evaluation."""
    for entry, arrays, expected in zip(entries, teachers, evaluated, strict=True):
        returns = arrays["reward"].sum(axis=1)
        assert returns.mean() == pytest.approx(expected["mean_return"], rel=1e-4)
        assert returns.std() == pytest.approx(expected["std_return"], rel=1e-3)
        assert arrays["length"].mean() == pytest.approx(expected["episode_length"])
        assert arrays["terminated"].mean() == pytest.approx(expected["share_terminated"])
        assert entry["mean_return"] == pytest.approx(expected["mean_return"], rel=1e-4)
        assert entry["share_terminated"] == pytest.approx(expected["share_terminated"])
        assert entry["steps"] == arrays["length"].sum()
        assert entry["drone"] == expected["drone"]


def test_more_episodes_than_fit_into_memory_are_refused(run, tmp_path, refused):
    line = refused("rollout", run, "--device", "cpu", "--output", tmp_path, "--episodes", 10**9)
    assert "1000000000 episodes need" in line
    assert "lower --episodes" in line


def test_returns_are_those_of_the_final_evaluation(run, dataset):
    index, teachers = dataset
    require_equal(index["teachers"], teachers, json.loads((run / "results.json").read_text())["teachers"])


def test_returns_are_those_of_evaluate_with_the_same_seed(run, tmp_path, numbers):
    arguments = ["--seed", "7", "--episodes", "5"]
    index, teachers = roll_out(run, tmp_path / "rollouts", *arguments)
    assert (index["seed"], index["episodes"], len(teachers[0]["length"])) == (7, 5, 5)
    # Not all of these teachers pass.
    again = numbers("evaluate", run, *arguments, statuses=(exit_status.NOT_PASSED,))
    require_equal(index["teachers"], teachers, again["teachers"])


def test_shapes_and_types(flown):
    shapes = {"observation": (STEPS, OBSERVATION_DIM), "action": (STEPS, ACTION_DIM), "reward": (STEPS,)}
    for arrays in flown:
        for name, shape in shapes.items():
            assert (arrays[name].shape, arrays[name].dtype) == ((EPISODES, *shape), np.float32)
        assert arrays["length"].shape == arrays["terminated"].shape == (EPISODES,)
        assert arrays["terminated"].dtype == bool


def test_steps_after_the_end_of_an_episode_are_zero(flown):
    arrays = flown[CRASHING]
    assert 0 < arrays["terminated"].mean() < 1
    for episode, length in enumerate(arrays["length"]):
        assert arrays["terminated"][episode] or length == STEPS
        for name in ("observation", "action", "reward"):
            values = arrays[name][episode].reshape(STEPS, -1)
            assert np.abs(values[:length]).sum(axis=1).all()
            assert not values[length:].any()
        if length < STEPS:
            penalty = json.loads(str(arrays["drone"]))["mdp"]["reward"]["termination_penalty"]
            assert arrays["reward"][episode, length - 1] == penalty


def test_actions_are_the_actors_at_their_observations(flown, actors):
    for teacher, arrays in enumerate(flown):
        actor = jax.tree.map(lambda leaf, teacher=teacher: leaf[teacher], actors)
        expected = sac.deterministic_action(SETTINGS.sac, actor, jnp.asarray(arrays["observation"]))
        during = np.arange(STEPS) < arrays["length"][:, None]
        np.testing.assert_allclose(arrays["action"][during], np.asarray(expected)[during], atol=1e-5)


def test_the_next_observation_shows_the_action(flown):
    for arrays in flown:
        both = np.arange(1, STEPS) < arrays["length"][:, None]
        shown = arrays["observation"][:, 1:, 18:22]
        np.testing.assert_array_equal(shown[both], arrays["action"][:, :-1][both])


def test_the_drone_is_the_one_that_flew(run, tmp_path):
    """With the task of the run's configuration, not of the drone's file."""
    copy = shutil.copytree(run, tmp_path / "copy")
    settings = layout.config_file(copy)
    settings.write_text(settings.read_text().replace("task: file", "task: raptor", 1))
    index, (arrays,) = roll_out(copy, tmp_path / "out", "--teacher", 1, "--episodes", 2)
    assert index["teachers"][0]["teacher_id"] == 1
    assert json.loads(str(arrays["provenance"]))["teacher"]["drone"] == NAMES[1]

    (tmp_path / "drone.json").write_text(str(arrays["drone"]))
    stored = files.load_drone(tmp_path / "drone.json")
    own = files.load_drone(layout.drones(run) / NAMES[1])
    jax.tree.map(np.testing.assert_array_equal, stored.drone.dynamics, own.drone.dynamics)
    assert stored.metadata == own.metadata
    assert (stored.drone.mdp.reward.constant, own.drone.mdp.reward.constant) == (1.5, 1.0)


def test_an_interrupted_rollout_leaves_whole_files_and_no_index(run, tmp_path, monkeypatch):
    """This shows that a teacher's flights are on disk before the next teacher flies."""
    copy, calls = jax.device_get, []

    def interrupted(flights):
        calls.append(flights)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return copy(flights)

    monkeypatch.setattr(jax, "device_get", interrupted)
    arguments = ["rollout", str(run), "--device", "cpu", "--output", str(tmp_path / "out")]
    assert cli.main(arguments) == exit_status.INTERRUPTED
    written = {path.name: np.load(path)["length"].shape for path in (tmp_path / "out").iterdir()}
    assert written == {"teacher_0000.npz": (EPISODES,), "teacher_0001.npz": (EPISODES,)}
