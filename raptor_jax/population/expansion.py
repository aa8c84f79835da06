"""Training at a horizon above 0: every teacher flies windows and updates itself on them."""

import jax
import jax.numpy as jnp

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.population import state
from raptor_jax.population.per_teacher import freeze_non_finite
from raptor_jax.population.schedule import Schedule, cut
from raptor_jax.population.state import ChunkMetrics, Finished, Population
from raptor_jax.sac import Losses, Teacher, Window
from raptor_jax.simulator import episode
from raptor_jax.simulator.episode import Episode


def steps_per_update(config: Config) -> int:
    """Returns the environment steps of a teacher that one update flies."""
    return config.sac.horizon * config.environment.environments_per_teacher


def total_updates(config: Config) -> int:
    """Returns the number of updates of a whole round, over which the actor's learning rate decays."""
    return -(-config.training.steps_per_teacher // steps_per_update(config))


def schedule(config: Config) -> Schedule:
    """Returns how a run is divided into calls of `train`; nothing is flown before learning begins."""
    return cut(config, 0, steps_per_update(config), config.training.steps_per_teacher, updates_per_iteration=1)


def start_episodes(config: Config, drones: Drone, key: jax.Array) -> Episode:
    """Returns new episodes of drones [E, ...] with random initial lengths; else all would end in the same window."""
    age_key, start_key = jax.random.split(key)
    environments = drones.dynamics.mass.shape[0]
    episodes = jax.vmap(episode.start)(drones, jax.random.split(start_key, environments))
    ages = jax.random.randint(age_key, (environments,), 0, config.environment.longest_in_training, jnp.int32)
    return episodes.replace(length=ages)


def train(
    config: Config, iterations: int, updates: jax.Array | int, population: Population, drones: Drone
) -> tuple[Population, ChunkMetrics]:
    """Makes `iterations` of the `updates` of a round for every teacher."""

    def update(population: Population, _: None) -> tuple[Population, tuple[Losses, Finished]]:
        def one(
            teacher: Teacher, drone: Drone, episodes: Episode, key: jax.Array
        ) -> tuple[Teacher, Episode, Window, Losses]:
            update_key = jax.random.fold_in(key, population.updates)
            return sac.update_on_windows(config, updates, teacher, drone, episodes, update_key)

        teachers, episodes, windows, losses = jax.vmap(one)(
            population.teachers, drones, population.episodes, population.keys
        )
        following = population.replace(
            teachers=teachers,
            episodes=episodes,
            flown=population.flown + config.sac.horizon,
            updates=population.updates + 1,
        )
        return following, (losses, finished(config, windows))

    after, (losses, ended) = jax.lax.scan(update, population, length=iterations)
    after = freeze_non_finite(population, after)
    losses = state.mean_reported(losses).replace(alpha=jnp.exp(after.teachers.log_alpha))
    return after, state.chunk_metrics(losses, state.total(ended))


def finished(config: Config, windows: Window) -> Finished:
    """Returns the sums over the windows [T, E] in which an episode terminated or reached its length.

    A window continues to its end; the episode counts up to the step at which it would have been truncated.
    """
    ended = windows.steps.terminated | (windows.steps.length >= config.environment.longest_in_training)
    first = jnp.argmax(ended, axis=-1, keepdims=True)

    def at_first(values: jax.Array) -> jax.Array:
        return jnp.take_along_axis(values, first, axis=-1)[..., 0]

    return state.finished_where(
        jnp.any(ended, axis=-1), at_first(windows.steps.total_reward), at_first(windows.steps.length)
    )
