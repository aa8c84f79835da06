"""A population that learns by analytic policy gradients: windows of flight and updates in one jitted scan."""

import functools

import jax
import jax.numpy as jnp
from flax import struct

from raptor_jax import apg, sac
from raptor_jax.apg import Learner, WindowMetrics
from raptor_jax.config import Config
from raptor_jax.dynamics.parameters import Drone
from raptor_jax.population.per_teacher import freeze_non_finite, teacher_key
from raptor_jax.population.schedule import Schedule, cut
from raptor_jax.simulator import episode
from raptor_jax.simulator.episode import Episode


class Population(struct.PyTreeNode):
    """T teachers in training."""

    learners: Learner
    """Every array [T, ...]."""
    episodes: Episode
    """Every array [T, E, ...]."""
    keys: jax.Array
    """[T] random key of each teacher; never changes."""
    updates: jax.Array
    """[] int32, updates of every teacher so far."""
    active: jax.Array
    """[T] bool, False once a teacher's numbers became non-finite: it stays as it was before that chunk."""


def steps_per_update(config: Config) -> int:
    """Returns the environment steps of a teacher that one update flies."""
    return config.apg.horizon * config.apg.environments_per_teacher


def total_updates(config: Config) -> int:
    """Returns the updates of a whole run, over which the learning rate falls."""
    return -(-config.training.steps_per_teacher // steps_per_update(config))


def schedule(config: Config) -> Schedule:
    """Returns how a run is cut into calls of `train`; nothing is flown before learning begins."""
    return cut(config, 0, steps_per_update(config), config.training.steps_per_teacher, updates_per_iteration=1)


def actors(population: Population) -> sac.Parameters:
    """Returns the actors' weights, each [T, ...]."""
    return population.learners.actor


@functools.partial(jax.jit, static_argnames=("config", "attempt"))
def create(
    config: Config,
    drones: Drone,
    teacher_ids: jax.Array,
    start: sac.Parameters | None = None,
    attempt: int = 0,
) -> Population:
    """Returns a population before its first update.

    Args:
        config: settings.
        drones: every array [T, ...].
        teacher_ids: [T] identity of each teacher, which seeds it.
        start: weights of one actor that every teacher begins with; None for random ones, each its own.
        attempt: at training these teachers; every attempt has seeds of its own.
    """

    def one(drone: Drone, teacher_id: jax.Array) -> tuple[Learner, Episode, jax.Array]:
        weights_key, episodes_key, run_key = jax.random.split(teacher_key(config, teacher_id, attempt), 3)
        actor = sac.create(config.sac, weights_key).actor if start is None else start
        drones = jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (config.apg.environments_per_teacher, *leaf.shape)), drone
        )
        return apg.create(config, total_updates(config), actor), start_episodes(config, drones, episodes_key), run_key

    learners, episodes, keys = jax.vmap(one)(drones, teacher_ids)
    active = jnp.ones(teacher_ids.shape[0], bool)
    return Population(learners, episodes, keys, jnp.zeros((), jnp.int32), active)


def start_episodes(config: Config, drones: Drone, key: jax.Array) -> Episode:
    """Returns fresh episodes of drones [E, ...], of different ages: else all would end in the same window."""
    age_key, start_key = jax.random.split(key)
    environments = drones.dynamics.mass.shape[0]
    episodes = jax.vmap(episode.start)(drones, jax.random.split(start_key, environments))
    ages = jax.random.randint(age_key, (environments,), 0, config.environment.episode_steps, jnp.int32)
    return episodes.replace(length=ages)


@functools.partial(jax.jit, static_argnames=("config", "iterations", "platform"), donate_argnames="population")
def train(
    config: Config, population: Population, drones: Drone, iterations: int, platform: str = "cpu"
) -> tuple[Population, WindowMetrics]:
    """Makes `iterations` updates of every teacher. The population is donated. The same on every platform.

    Returns:
        The population after, and each teacher's means over the chunk, [T].
    """
    del platform

    def update(population: Population, _: None) -> tuple[Population, WindowMetrics]:
        def one(
            learner: Learner, drone: Drone, episodes: Episode, key: jax.Array
        ) -> tuple[Learner, Episode, WindowMetrics]:
            window_key = jax.random.fold_in(key, population.updates)
            return apg.improve(config, total_updates(config), learner, drone, episodes, window_key)

        learners, episodes, metrics = jax.vmap(one)(population.learners, drones, population.episodes, population.keys)
        following = population.replace(learners=learners, episodes=episodes, updates=population.updates + 1)
        return following, metrics

    after, metrics = jax.lax.scan(update, population, length=iterations)
    after = freeze_non_finite(population, after, ("learners", "episodes"))
    return after, jax.tree.map(lambda values: jnp.mean(values, axis=0), metrics)
