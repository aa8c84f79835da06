"""The student imitates the teachers on flights of its own (DAgger, Ross et al. 2011; Eschmann et al. 2025).

In every iteration the student flies a batch of episodes, each on the drone of one teacher, and that teacher says at
every step what it would do. The student then learns to act so: the loss is the mean squared distance between its action
and the teacher's mean action, with the gradient through all steps of an episode by way of the memory, but not through
the simulator. The teachers fly the first iterations, because an untrained student sees nothing but crashes.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from raptor_jax import sac
from raptor_jax.config import Config, DistillationConfig
from raptor_jax.drones.parameters import Drone
from raptor_jax.simulator import Noise, draw_noise, episode
from raptor_jax.simulator.episode import Episode
from raptor_jax.student.network import INPUTS, Weights, act, create, fresh_memory


class Learner(struct.PyTreeNode):
    """Everything that learns, and how far it came."""

    weights: Weights
    optimizer: optax.OptState
    iteration: jax.Array
    """[] int32, iterations so far."""


class Metrics(struct.PyTreeNode):
    """What an iteration reports, each []."""

    loss: jax.Array
    """Mean squared distance of an entry of the action, in the first epoch."""
    mean_return: jax.Array
    """Of the episodes of the iteration."""
    share_terminated: jax.Array
    """Fraction of them that ended by termination."""


class _Lesson(NamedTuple):
    """What the student learns from; with leading axes [B, steps] a batch of episodes."""

    observation: jax.Array
    """[22]"""
    teacher_action: jax.Array
    """[4] the teacher's mean action there."""
    flying: jax.Array
    """[] bool, False after a termination."""


class _Flight(NamedTuple):
    """A flight of the student."""

    episode: Episode
    memory: jax.Array
    """[W] of the student."""
    flying: jax.Array
    """[] bool, False after a termination."""


def start(config: Config) -> Learner:
    """Returns an untrained student; its weights follow from `training.seed`."""
    weights = create(config.distillation.width, jax.random.key(config.training.seed))
    return Learner(weights, _optimizer(config.distillation).init(weights), jnp.zeros((), jnp.int32))


def train(
    config: Config, iterations: int, learner: Learner, actors: sac.Parameters, drones: Drone
) -> tuple[Learner, Metrics]:
    """Makes so many iterations.

    Args:
        config: settings; the episodes follow from `training.seed` and the number of the iteration.
        iterations: how many.
        learner: the student.
        actors: weights of the teachers, each [T, ...].
        drones: their drones, every array [T, ...].

    Returns:
        The student after them, and the means of what they report.
    """
    optimizer = _optimizer(config.distillation)

    def iterate(learner: Learner, _: None) -> tuple[Learner, Metrics]:
        key = jax.random.fold_in(jax.random.key(config.training.seed), learner.iteration)
        lessons, metrics = _fly_batch(config, learner, actors, drones, key)
        learner, losses = _learn(config.distillation, optimizer, learner, lessons)
        return learner.replace(iteration=learner.iteration + 1), metrics.replace(loss=losses[0].mean())

    after, metrics = jax.lax.scan(iterate, learner, length=iterations)
    return after, jax.tree.map(jnp.mean, metrics)


def loss(weights: Weights, lessons: "_Lesson") -> jax.Array:
    """Returns the mean squared distance [] of an entry of the action; arrays of the lessons are [B, steps, ...]."""

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def step(memory: jax.Array, lesson: _Lesson) -> tuple[jax.Array, jax.Array]:
        memory, action = act(weights, memory, lesson.observation)
        distance = jnp.sum((action - lesson.teacher_action) ** 2, axis=-1)
        return memory, jnp.sum(jnp.where(lesson.flying, distance, 0))

    by_step = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), lessons)
    memory = jnp.broadcast_to(fresh_memory(weights), (lessons.flying.shape[0], fresh_memory(weights).size))
    _, distances = jax.lax.scan(step, memory, by_step)
    return jnp.sum(distances) / (jnp.sum(lessons.flying) * lessons.teacher_action.shape[-1])


def _fly_batch(
    config: Config, learner: Learner, actors: sac.Parameters, drones: Drone, key: jax.Array
) -> tuple[_Lesson, Metrics]:
    """Flies the episodes of an iteration; arrays of the lessons are [B, steps, ...]."""
    settings = config.distillation
    choice_key, flight_key = jax.random.split(key)
    teachers = drones.dynamics.mass.shape[0]
    chosen = jax.random.choice(choice_key, teachers, (settings.episodes,), replace=settings.episodes > teachers)
    actors, drones = jax.tree.map(lambda leaf: leaf[chosen], (actors, drones))
    guided = learner.iteration < settings.guided_iterations
    fly = functools.partial(_fly, config, learner.weights, guided)
    lessons, returns, terminated = jax.vmap(fly)(actors, drones, jax.random.split(flight_key, settings.episodes))
    return lessons, Metrics(jnp.zeros(()), returns.mean(), terminated.mean())


def _fly(
    config: Config, weights: Weights, guided: jax.Array, actor: sac.Parameters, drone: Drone, key: jax.Array
) -> tuple[_Lesson, jax.Array, jax.Array]:
    """Flies one episode.

    Returns:
        The lessons, arrays [steps, ...]; the return []; whether the episode terminated [].
    """
    steps = config.environment.episode_steps
    start_key, noise_key = jax.random.split(key)

    def step(before: _Flight, noise: Noise) -> tuple[_Flight, tuple[_Lesson, jax.Array]]:
        now, memory, flying = before
        teacher_action = sac.deterministic_action(config.sac, actor, now.observation)
        memory, own_action = act(weights, memory, now.observation)
        outcome = episode.advance(drone, now, jnp.where(guided, teacher_action, own_action), steps, noise)
        lesson = _Lesson(now.observation[:INPUTS], teacher_action, flying)
        gained = jnp.where(flying, outcome.reward, 0)
        return _Flight(outcome.episode, memory, flying & ~outcome.terminated), (lesson, gained)

    first = _Flight(episode.start(drone, start_key), fresh_memory(weights), jnp.ones((), bool))
    last, (lessons, gained) = jax.lax.scan(step, first, draw_noise(drone, noise_key, steps), length=steps)
    return lessons, gained.sum(), ~last.flying


def _learn(
    settings: DistillationConfig, optimizer: optax.GradientTransformation, learner: Learner, lessons: _Lesson
) -> tuple[Learner, jax.Array]:
    """Returns the student after all epochs, and the losses [epochs, batches]."""
    batches = jax.tree.map(lambda leaf: leaf.reshape(-1, settings.batch_episodes, *leaf.shape[1:]), lessons)

    def update(before: Learner, batch: _Lesson) -> tuple[Learner, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(before.weights, batch)
        step, state = optimizer.update(gradient, before.optimizer, before.weights)
        return before.replace(weights=optax.apply_updates(before.weights, step), optimizer=state), value

    def epoch(before: Learner, _: None) -> tuple[Learner, jax.Array]:
        return jax.lax.scan(update, before, batches)

    return jax.lax.scan(epoch, learner, length=settings.epochs)


def _optimizer(settings: DistillationConfig) -> optax.GradientTransformation:
    updates = settings.iterations * settings.epochs * (settings.episodes // settings.batch_episodes)
    return optax.chain(
        optax.clip_by_global_norm(settings.gradient_clip),
        optax.adam(optax.cosine_decay_schedule(settings.learning_rate, updates)),
    )
