"""The Python API: the names of `import raptor_jax`, their doctests, and docs/library.md."""

import doctest
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import raptor_jax
from raptor_jax import api, gymnasium_env
from raptor_jax.errors import UserError
from raptor_jax.runs.analysis import Population
from raptor_jax.simulator import episode
from tests.sac.networks import mlp
from validation.drones import replaced

RUN = "experiments/pre_training"
ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "library.md"
TINY = """
environment: {episode_steps: 10, environments_per_teacher: 2}
sac: {horizon: 5}
distillation:
  {width: 4, iterations: 2, episodes: 4, batch_episodes: 2, epochs: 1, guided_iterations: 1, eval_frequency: 2,
   eval_episodes: 2, checkpoint_frequency: 2, log_frequency: 2}
training:
  steps_per_teacher: 200
  eval_frequency: 100
  checkpoint_frequency: 200
  log_frequency: 100
  eval_episodes: 2
  final_eval_episodes: 3
  extra_rounds: 0
  tensorboard_teachers: 0
"""


# What is trained is not looked at.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]


@pytest.fixture
def here(tmp_path, monkeypatch, run_of_4) -> Path:
    """The working directory, with settings that train in a moment, and a finished run where a training leaves it."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / RUN).parent.mkdir()
    (tmp_path / RUN).symlink_to(run_of_4)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_import_leaves_jax_to_the_first_use():
    program = "import sys, raptor_jax; print(*dir(raptor_jax)); print('jax' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    names, jax_is_imported = finished.stdout.splitlines()
    assert set(raptor_jax.__all__) <= set(names.split())
    assert jax_is_imported == "False"


def test_every_name_exists_and_is_documented():
    for name in raptor_jax.__all__:
        assert getattr(raptor_jax, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'fly'"):
        raptor_jax.fly  # noqa: B018 (the look-up is what is refused)


@pytest.mark.parametrize("module", [api, gymnasium_env], ids=lambda module: module.__name__)
def test_doctests(here, module):
    found = doctest.testmod(module)
    assert found.attempted > 4
    assert found.failed == 0


def test_the_page_runs(here):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 5
    names: dict[str, object] = {}
    for block in blocks:
        tiny = re.sub(r"configs/\w+.yaml", "tiny.yaml", block)
        exec(compile(tiny, str(PAGE), "exec"), names)
    assert isinstance(names["population"], Population)
    assert len(names["population"]) == 2


def test_drones_in_memory_are_those_on_disk(here):
    in_memory, written = raptor_jax.sample_drones(3), raptor_jax.sample_drones(3, directory="drones")
    for drones in (written, raptor_jax.load_drones("drones"), raptor_jax.load_drones(here / "drones")):
        for one, expected in zip(drones, in_memory, strict=True):
            jax.tree.map(np.testing.assert_array_equal, one.drone, expected.drone)
            assert (one.name, one.path.name, one.metadata) == (expected.name, expected.path.name, expected.metadata)
    (second,) = raptor_jax.load_drones("drones/0001.json")
    assert second.name == "0001"


def test_the_environment_is_the_simulator():
    config = raptor_jax.load_config(overrides={"environment.episode_steps": 3, "environment.task": "raptor"})
    drones = raptor_jax.sample_drones(2, config)
    drone, reset, step = raptor_jax.make_environment(drones[1], config)
    assert raptor_jax.make_environment(drones, config).drones.dynamics.mass[1] == drone.dynamics.mass
    assert drone.mdp.reward.constant == 1.5
    now, lengths = jax.jit(reset)(drone, jax.random.key(0)), []
    for key in jax.random.split(jax.random.key(1), 4):
        expected = episode.advance_or_restart(drone, now, jnp.ones(4), 3, key)
        now, outcome = jax.jit(step)(drone, now, jnp.ones(4), key)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), (now, outcome), expected)
        lengths.append(int(now.length))
    assert lengths == [1, 2, 0, 1]


def test_a_training_returns_what_it_wrote(here, capsys):
    config = raptor_jax.load_config("tiny.yaml")
    drones = raptor_jax.sample_drones(2)
    population = raptor_jax.train(drones, "run", config, quiet=True)
    assert capsys.readouterr().out == ""
    assert population.teachers["drone"].tolist() == ["0000.json", "0001.json"]
    np.testing.assert_array_equal(population.drones.dynamics.mass, [one.drone.dynamics.mass for one in drones])
    again = raptor_jax.load("run")
    np.testing.assert_array_equal(again.teachers["mean_return"], population.teachers["mean_return"])
    # The episodes that judged it, and others.
    judged, others = raptor_jax.evaluate("run"), raptor_jax.evaluate("run", seed=9)
    np.testing.assert_allclose(judged.mean_return, population.teachers["mean_return"], rtol=1e-5)
    assert not np.allclose(others.mean_return, judged.mean_return)

    with pytest.raises(UserError, match="--overwrite"):
        raptor_jax.train(drones, "run", config, quiet=True)
    raptor_jax.train(drones, "run", config, resume=True)
    assert "resumed from step 200" in capsys.readouterr().out
    raptor_jax.train(drones, "run", config, overwrite=True, quiet=True)
    assert len(raptor_jax.load("run", "run.previous-1")) == 4


def test_a_custom_policy_flies_the_same_episodes(here):
    # All teachers of this run are the same, and have no memory.
    teacher = raptor_jax.load_teacher(RUN, 0)
    policy = SimpleNamespace(reset=lambda: None, evaluate_step=lambda observed: np.asarray(teacher.action(observed)))
    kept, own = raptor_jax.evaluate(RUN, episodes=2), raptor_jax.evaluate(RUN, policy, episodes=2)
    assert isinstance(own.mean_return, np.ndarray)
    np.testing.assert_allclose(own.mean_return, kept.mean_return, rtol=1e-3)


def test_a_teacher_acts_as_its_network(here):
    teacher = raptor_jax.load_teacher(RUN, 2)
    assert teacher.teacher_id == 2
    observation = np.random.default_rng(0).normal(size=(5, 26))
    expected = np.tanh(mlp(teacher.mean_layers, observation))
    np.testing.assert_allclose(teacher.action(observation), expected, atol=1e-5)
    np.testing.assert_allclose(teacher.action(observation[3]), expected[3], atol=1e-5)


def test_a_student_learns_from_the_named_teachers_and_is_loaded_again(here, capsys):
    config = raptor_jax.load_config("tiny.yaml")
    student = raptor_jax.distill(RUN, "student", config, teachers=[0, 2], quiet=True)
    assert capsys.readouterr().out == ""
    assert student.provenance["teachers"] == 2
    again = raptor_jax.load_student(here / "student" / "student.npz")
    jax.tree.map(np.testing.assert_array_equal, again.weights, student.weights)
    # Step by step and from a scan, with a memory for each of five episodes.
    observations = np.random.default_rng(0).normal(size=(3, 5, 22)).astype(np.float32)
    memory = jnp.broadcast_to(student.fresh_memory, (5, 4))
    for observation, expected in zip(observations, student.fly(observations), strict=True):
        memory, action = student.act(memory, observation)
        np.testing.assert_allclose(action, np.clip(expected, -1, 1), atol=1e-5)
    raptor_jax.distill(RUN, "student", config, teachers=[0, 2], resume=True)
    assert "resumed from iteration 2" in capsys.readouterr().out


def test_refusals(here):
    drones = raptor_jax.sample_drones(3)
    weightless = drones[0]._replace(drone=replaced(drones[0].drone, dynamics__mass=np.float64(0)))
    for refused, expected in (
        (lambda: raptor_jax.sample_drones(0), "num: 0 should be at least 1"),
        (lambda: raptor_jax.load_drones("nowhere"), "nowhere: no such file"),
        (lambda: raptor_jax.make_environment([]), "drones: there are none"),
        (lambda: raptor_jax.train([], "run"), "drones: there are none"),
        # A run's drones are read back in the order of their names: teacher 0 would be shown with another's drone.
        (lambda: raptor_jax.train(drones[::-1], "run"), "drones: 0002 is out of order"),
        (lambda: raptor_jax.train([*drones, drones[2]], "run"), "drones: 0002 is out of order or occurs twice"),
        (lambda: raptor_jax.train([weightless], "run"), r"0000\.json: dynamics\.mass: 0"),
        (lambda: raptor_jax.evaluate("nowhere"), "nowhere: holds no checkpoints"),
        (lambda: raptor_jax.evaluate(RUN, episodes=0), "episodes: 0 should be at least 1"),
        (lambda: raptor_jax.load_teacher(RUN, 7), "has the teachers 0 to 3"),
        (lambda: raptor_jax.distill("nowhere", "run"), "nowhere: holds no checkpoints"),
        (lambda: raptor_jax.distill(RUN, "run", teachers=[7]), "teacher 7"),
        (lambda: raptor_jax.distill(RUN, "run", teachers=[]), "teachers: there are none"),
        (lambda: raptor_jax.load_student("nowhere"), "nowhere: no such file"),
        (lambda: raptor_jax.load_config(overrides={"sac.gama": 1}), "did you mean sac.gamma"),
    ):
        with pytest.raises(UserError, match=expected):
            refused()
    assert not (here / "run").exists()
