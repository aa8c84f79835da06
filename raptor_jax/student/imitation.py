"""The student imitates the teachers on flights of its own (DAgger, Ross et al. 2011; Eschmann et al. 2025).

In every iteration the student flies a batch of episodes, each on the drone of one teacher, and that teacher labels
every step with the action that it would take. The loss is the mean squared distance between the student's action and
the teacher's mean action; its gradient passes through all steps of an episode via the memory, but not through the
simulator. The teachers fly the first iterations, because an untrained student would only crash.

Several devices share the episodes of every update; the numbers do not depend on their number, except for rounding.
"""

import functools
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from raptor_jax import sac
from raptor_jax.config import Config, DistillationConfig
from raptor_jax.drones.parameters import Drone
from raptor_jax.simulator import Noise, draw_noise, episode
from raptor_jax.simulator.episode import Episode
from raptor_jax.student.network import INPUTS, Weights, act, act_clipped, create, fresh_memory

_Values = TypeVar("_Values")


class Learner(struct.PyTreeNode):
    """Everything that learns, and the number of iterations so far."""

    weights: Weights
    optimizer: optax.OptState
    iteration: jax.Array
    """[] int32, iterations so far."""


class Metrics(struct.PyTreeNode):
    """Metrics of an iteration, each []."""

    loss: jax.Array
    """Mean squared distance per entry of the action, in the first epoch."""
    mean_return: jax.Array
    """Mean return of the episodes of the iteration."""
    share_terminated: jax.Array
    """Fraction of these that were terminated."""


class Lesson(NamedTuple):
    """A step from which the student learns; with leading axes [B, steps] a batch of episodes."""

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
    """Returns an untrained student; its weights follow from `distillation.seed`."""
    weights = create(config.distillation.width, jax.random.key(config.distillation.seed))
    return Learner(weights, _optimizer(config.distillation).init(weights), jnp.zeros((), jnp.int32))


def train(
    config: Config,
    iterations: int,
    learner: Learner,
    actors: sac.Parameters,
    drones: Drone,
    axis_name: str | None = None,
) -> tuple[Learner, Metrics]:
    """Runs `iterations` iterations.

    Args:
        config: settings; the episodes follow from `distillation.seed` and the number of the iteration.
        iterations: number of iterations.
        learner: the student.
        actors: weights of the teachers, each [T, ...].
        drones: their drones, every array [T, ...].
        axis_name: the name of the axis over which this function is mapped; None for a single device.

    Returns:
        The student after them, and the means of their metrics.
    """
    optimizer = _optimizer(config.distillation)

    def iterate(learner: Learner, _: None) -> tuple[Learner, Metrics]:
        key = jax.random.fold_in(jax.random.key(config.distillation.seed), learner.iteration)
        lessons, metrics = _fly_batches(config, learner, actors, drones, key, axis_name)
        learner, losses = _learn(config.distillation, optimizer, learner, lessons, axis_name)
        return learner.replace(iteration=learner.iteration + 1), metrics.replace(loss=losses[0].mean())

    after, metrics = jax.lax.scan(iterate, learner, length=iterations)
    return after, jax.tree.map(jnp.mean, metrics)


def loss(weights: Weights, lessons: Lesson) -> jax.Array:
    """Returns the mean squared distance [] per entry of the action; arrays of the lessons are [B, steps, ...].

    The distance of a step after a termination counts as 0.
    """

    @functools.partial(jax.checkpoint, prevent_cse=False)
    def step(memory: jax.Array, lesson: Lesson) -> tuple[jax.Array, jax.Array]:
        memory, action = act(weights, memory, lesson.observation)
        distance = jnp.mean((action - lesson.teacher_action) ** 2, axis=-1)
        return memory, jnp.mean(jnp.where(lesson.flying, distance, 0))

    by_step = jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), lessons)
    first = fresh_memory(weights)
    memory = jnp.broadcast_to(first, (lessons.flying.shape[0], first.size))
    return jnp.mean(jax.lax.scan(step, memory, by_step)[1])


def _fly_batches(
    config: Config, learner: Learner, actors: sac.Parameters, drones: Drone, key: jax.Array, axis_name: str | None
) -> tuple[Lesson, Metrics]:
    """Flies this device's share of the episodes of an iteration.

    Returns:
        The lessons, arrays [batches, B, steps, ...], and the metrics of all devices, without a loss.
    """
    settings = config.distillation
    choice_key, flight_key = jax.random.split(key)
    teachers = drones.dynamics.mass.shape[0]
    chosen = jax.random.choice(choice_key, teachers, (settings.episodes,), replace=settings.episodes > teachers)
    episodes = (chosen, jax.random.split(flight_key, settings.episodes))
    batches = jax.tree.map(lambda leaf: leaf.reshape(-1, settings.batch_episodes), episodes)
    chosen, keys = jax.tree.map(lambda leaf: _share(leaf, axis_name), batches)
    guided = learner.iteration < settings.guided_iterations

    def fly(teacher: jax.Array, key: jax.Array) -> tuple[Lesson, jax.Array, jax.Array]:
        actor, drone = jax.tree.map(lambda leaf: leaf[teacher], (actors, drones))
        return _fly(config, learner.weights, guided, actor, drone, key)

    flat = chosen.reshape(-1), keys.reshape(-1)
    lessons, returns, terminated = jax.vmap(fly)(*flat)
    lessons = jax.tree.map(lambda leaf: leaf.reshape(*chosen.shape, *leaf.shape[1:]), lessons)
    mean_return, share_terminated = _mean_over(axis_name, (returns.mean(), terminated.mean()))
    return lessons, Metrics(jnp.zeros(()), mean_return, share_terminated)


def _fly(
    config: Config, weights: Weights, guided: jax.Array, actor: sac.Parameters, drone: Drone, key: jax.Array
) -> tuple[Lesson, jax.Array, jax.Array]:
    """Flies one episode.

    Returns:
        The lessons, arrays [steps, ...]; the return []; whether the episode terminated [].
    """
    steps = config.environment.episode_steps
    start_key, noise_key = jax.random.split(key)

    def step(before: _Flight, noise: Noise) -> tuple[_Flight, tuple[Lesson, jax.Array]]:
        now, memory, flying = before
        teacher_action = sac.deterministic_action(config.sac, actor, now.observation)
        memory, own_action = act_clipped(weights, memory, now.observation)
        outcome = episode.advance(drone, now, jnp.where(guided, teacher_action, own_action), steps, noise)
        lesson = Lesson(now.observation[:INPUTS], teacher_action, flying)
        gained = jnp.where(flying, outcome.reward, 0)
        # The state after a crash could overflow and make the gradient NaN, although its loss has no weight.
        held = jax.tree.map(lambda new, old: jnp.where(flying, new, old), outcome.episode, now)
        return _Flight(held, memory, flying & ~outcome.terminated), (lesson, gained)

    first = _Flight(episode.start(drone, start_key), fresh_memory(weights), jnp.ones((), bool))
    last, (lessons, gained) = jax.lax.scan(step, first, draw_noise(drone, noise_key, steps), length=steps)
    return lessons, gained.sum(), ~last.flying


def _learn(
    settings: DistillationConfig,
    optimizer: optax.GradientTransformation,
    learner: Learner,
    lessons: Lesson,
    axis_name: str | None,
) -> tuple[Learner, jax.Array]:
    """Returns the student after all epochs, and the losses [epochs, batches]."""

    def update(before: Learner, batch: Lesson) -> tuple[Learner, jax.Array]:
        value, gradient = _mean_over(axis_name, jax.value_and_grad(loss)(before.weights, batch))
        step, state = optimizer.update(gradient, before.optimizer, before.weights)
        return before.replace(weights=optax.apply_updates(before.weights, step), optimizer=state), value

    def epoch(before: Learner, _: None) -> tuple[Learner, jax.Array]:
        return jax.lax.scan(update, before, lessons)

    return jax.lax.scan(epoch, learner, length=settings.epochs)


def _share(batches: jax.Array, axis_name: str | None) -> jax.Array:
    """Returns the share of this device in every batch, [batches, B / devices], of values [batches, B]."""
    if axis_name is None:
        return batches
    size = batches.shape[1] // jax.lax.axis_size(axis_name)
    return jax.lax.dynamic_slice_in_dim(batches, jax.lax.axis_index(axis_name) * size, size, axis=1)


def _mean_over(axis_name: str | None, values: _Values) -> _Values:
    """Returns the means of values over the devices."""
    return values if axis_name is None else jax.lax.pmean(values, axis_name)


def _optimizer(settings: DistillationConfig) -> optax.GradientTransformation:
    updates = settings.iterations * settings.epochs * (settings.episodes // settings.batch_episodes)
    return optax.chain(
        optax.clip_by_global_norm(settings.gradient_clip),
        optax.adam(optax.cosine_decay_schedule(settings.learning_rate, updates)),
    )
