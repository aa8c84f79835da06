"""The student imitates the teachers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import sac, student
from raptor_jax.config import Config, build
from raptor_jax.student import imitation
from raptor_jax.student.imitation import Lesson

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

TEACHERS = 3
SETTINGS = {
    "environment.episode_steps": 20,
    "sac.actor_hidden_dim": 8,
    "distillation.width": 4,
    "distillation.episodes": 8,
    "distillation.batch_episodes": 4,
    "distillation.epochs": 2,
    "distillation.guided_iterations": 2,
    "distillation.iterations": 200,
}
CONFIG = build({}, SETTINGS, "test")


@pytest.fixture(scope="module")
def actors() -> sac.Parameters:
    return jax.vmap(lambda key: sac.create(CONFIG.sac, key).actor)(jax.random.split(jax.random.key(3), TEACHERS))


@pytest.fixture(scope="module")
def weights() -> student.Weights:
    return student.create(4, jax.random.key(0))


@pytest.fixture(scope="module")
def lessons() -> Lesson:
    """Two episodes of six steps."""
    draw = np.random.default_rng(0).normal
    observation, action = (jnp.asarray(draw(size=(2, 6, width)), jnp.float32) for width in (22, 4))
    return Lesson(observation, action, jnp.ones((2, 6), bool))


@functools.cache
def trainer(iterations: int, config: Config = CONFIG):
    return jax.jit(functools.partial(student.train, config, iterations))


def test_the_loss_is_the_mean_squared_distance_to_the_teachers_action(weights, lessons):
    expected = []
    for observations, teacher_actions in zip(lessons.observation, lessons.teacher_action, strict=True):
        memory = student.fresh_memory(weights)
        for observation, teacher_action in zip(observations, teacher_actions, strict=True):
            memory, action = student.act(weights, memory, observation)
            expected.append(np.square(action - teacher_action))
    np.testing.assert_allclose(imitation.loss(weights, lessons), np.mean(expected), rtol=1e-5)


def test_steps_after_a_termination_do_not_count(weights, lessons):
    ended = lessons._replace(flying=lessons.flying.at[1, 3:].set(False))
    elsewhere = ended._replace(teacher_action=ended.teacher_action.at[1, 3:].set(9.0))
    gradient = jax.grad(imitation.loss)
    jax.tree.map(np.testing.assert_array_equal, gradient(weights, ended), gradient(weights, elsewhere))


def test_the_loss_of_a_later_step_teaches_what_to_remember(weights, lessons):
    only_last = lessons._replace(flying=lessons.flying.at[:, :-1].set(False))
    moved = only_last._replace(observation=only_last.observation.at[:, 0].add(1.0))
    assert imitation.loss(weights, only_last) != imitation.loss(weights, moved)
    assert np.any(jax.grad(imitation.loss)(weights, only_last)["params"]["gru"]["hn"]["kernel"])


def test_a_student_learns_what_the_teachers_do(actors, drones):
    learner, metrics = trainer(10)(student.start(CONFIG), actors, drones)
    first = float(metrics.loss)
    for _ in range(9):
        learner, metrics = trainer(10)(learner, actors, drones)
    assert int(learner.iteration) == 100
    assert metrics.loss < first / 2


def test_an_iteration_depends_on_its_number_only(actors, drones):
    whole, _ = trainer(10)(student.start(CONFIG), actors, drones)
    part, _ = trainer(5)(student.start(CONFIG), actors, drones)
    parts, _ = trainer(5)(part, actors, drones)
    jax.tree.map(np.testing.assert_array_equal, whole, parts)


def test_several_devices_learn_the_same(actors, drones):
    alone, metrics = trainer(5)(student.start(CONFIG), actors, drones)

    def on_a_device(learner, _):
        return student.train(CONFIG, 5, learner, actors, drones, axis_name="devices")

    shared = jax.jit(jax.vmap(on_a_device, in_axes=(None, 0), axis_name="devices"))
    learners, reported = shared(student.start(CONFIG), jnp.arange(2))
    jax.tree.map(
        lambda one, both: np.testing.assert_allclose(both, np.stack([one, one]), atol=1e-5),
        (alone.weights, metrics),
        (learners.weights, reported),
    )


def test_a_flight_that_ends_leaves_finite_weights(actors, drones):
    tight = drones.mdp.termination.replace(position_threshold=jnp.full(TEACHERS, 1e-3))
    fast = drones.replace(mdp=drones.mdp.replace(termination=tight))
    unguided = build({}, SETTINGS | {"distillation.guided_iterations": 0}, "test")
    learner, metrics = trainer(3, unguided)(student.start(unguided), actors, fast)
    assert metrics.share_terminated == 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(learner.weights))
