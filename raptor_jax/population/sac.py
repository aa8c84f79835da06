"""A population that learns by SAC, at any horizon: the functions that the host compiles and calls."""

import functools

import jax
import jax.numpy as jnp

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.population import expansion, model_free
from raptor_jax.population.best import Best
from raptor_jax.population.per_teacher import teacher_key
from raptor_jax.population.schedule import Schedule
from raptor_jax.population.state import ChunkMetrics, Population
from raptor_jax.sac import Teacher
from raptor_jax.simulator import episode
from raptor_jax.simulator.episode import Episode


def schedule(config: Config) -> Schedule:
    """Returns how a run is divided into calls of `collect` (at horizon 0) and `train`.

    Raises:
        UserError: the run would end before learning begins.
    """
    return (expansion if config.sac.horizon else model_free).schedule(config)


def total_updates(config: Config) -> int:
    """Returns the number of updates over which the actor's learning rate decays; 0 at horizon 0, without a decay."""
    return expansion.total_updates(config) if config.sac.horizon else 0


@functools.partial(jax.jit, static_argnames="config")
def create(
    config: Config,
    drones: Drone,
    teacher_ids: jax.Array,
    attempt: jax.Array | int = 0,
    kept: Best | None = None,
    warm_start: sac.Parameters | None = None,
) -> Population:
    """Returns a population before its first update.

    Args:
        config: settings.
        drones: every array [T, ...].
        teacher_ids: [T] identity of each teacher, which seeds it.
        attempt: [] number of the round; every attempt at training these teachers has its own seeds.
        kept: networks with which each teacher continues, [T, ...], instead of `warm_start`.
        warm_start: weights of the actor with which every teacher begins; None for different random weights.
    """
    environments = config.environment.environments_per_teacher

    def one(drone: Drone, teacher_id: jax.Array, kept: Best | None) -> tuple[Teacher, Episode, jax.Array]:
        weights_key, episodes_key, run_key = jax.random.split(teacher_key(config, teacher_id, attempt), 3)
        if config.sac.horizon:
            of_each = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (environments, *leaf.shape)), drone)
            episodes = expansion.start_episodes(config, of_each, episodes_key)
        else:
            episodes = jax.vmap(episode.start, in_axes=(None, 0))(drone, jax.random.split(episodes_key, environments))
        networks = (warm_start,) if kept is None else (kept.actor, kept.critic, kept.alpha)
        return sac.create(config.sac, weights_key, *networks), episodes, run_key

    teachers, episodes, keys = jax.vmap(one)(drones, teacher_ids, kept)
    count = teacher_ids.shape[0]
    return Population(
        teachers=teachers,
        episodes=episodes,
        replay=None if config.sac.horizon else model_free.create_replay(config, count),
        keys=keys,
        flown=jnp.zeros((), jnp.int32),
        updates=jnp.zeros((), jnp.int32),
        active=jnp.ones(count, bool),
    )


@functools.partial(jax.jit, static_argnames=("config", "iterations"), donate_argnames="population")
def collect(config: Config, population: Population, drones: Drone, iterations: int) -> tuple[Population, ChunkMetrics]:
    """Flies every environment for `iterations` steps without learning, at horizon 0. The population is donated."""
    return model_free.collect(config, population, drones, iterations)


@functools.partial(jax.jit, static_argnames=("config", "iterations"), donate_argnames="population")
def train(
    config: Config, population: Population, drones: Drone, updates: jax.Array | int | None = None, *, iterations: int
) -> tuple[Population, ChunkMetrics]:
    """Makes `iterations` updates of every actor, with the corresponding flights and critic updates.

    The population is donated, so that a replay is written in place.

    Args:
        config: settings.
        population: T teachers.
        drones: every array [T, ...].
        updates: [] number of updates in the whole round, see `total_updates`; None for that of `config`.
        iterations: updates of every actor.

    Returns:
        The population after the chunk, and the metrics of each teacher, [T].
    """
    if not config.sac.horizon:
        return model_free.train(config, iterations, population, drones)
    updates = total_updates(config) if updates is None else updates
    return expansion.train(config, iterations, updates, population, drones)
