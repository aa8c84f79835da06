"""Training at horizon 0: flight, replay and updates on its batches."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.population import state
from raptor_jax.population.per_teacher import freeze_non_finite
from raptor_jax.population.schedule import Schedule, cut
from raptor_jax.population.state import ChunkMetrics, Finished, Population
from raptor_jax.sac import Losses, Teacher
from raptor_jax.sac import replay as replays
from raptor_jax.sac.replay import Experience
from raptor_jax.simulator import ACTION_DIM, episode
from raptor_jax.simulator.episode import Episode
from raptor_jax.utils.trees import packing, take

_FLIGHT, _LEARNING = 0, 1
"""Streams of a teacher's random draws."""

_REPORT = jax.tree.structure((Losses(*range(5)), Finished(*range(3))))
"""What an iteration reports."""


class _FlightKeys(NamedTuple):
    """Random keys of a step of every environment; all of a chunk are derived at once, in few kernels."""

    action: jax.Array
    """[T] of the sampled actions."""
    environments: jax.Array
    """[T, E] of the simulator and the reset."""


class _UpdateKeys(NamedTuple):
    """Random keys of an update of every teacher."""

    batch: jax.Array
    """[T]"""
    noise: jax.Array
    """[T] of the sampled actions."""


def steps_per_iteration(config: Config) -> int:
    """Returns the environment steps of a teacher in one iteration: those of actor_update_interval critic updates."""
    return config.sac.actor_update_interval * config.sac.steps_per_update * config.environment.environments_per_teacher


def schedule(config: Config) -> Schedule:
    """Returns how a run is divided into calls of `collect` and `train`.

    Raises:
        UserError: the run would end before learning begins.
    """
    environments = config.environment.environments_per_teacher
    warmup_iterations = -(-config.sac.n_warmup_steps // environments)
    learning_steps = config.training.steps_per_teacher - warmup_iterations * environments
    if learning_steps <= 0:
        raise UserError(
            f"training.steps_per_teacher: {config.training.steps_per_teacher} ends before learning begins, after"
            f" sac.n_warmup_steps {config.sac.n_warmup_steps}; raise the former or lower the latter"
        )
    interval = config.sac.actor_update_interval
    return cut(config, warmup_iterations, steps_per_iteration(config), learning_steps, interval)


def create_replay(config: Config, teachers: int) -> replays.Replay:
    """Returns an empty replay of T teachers."""
    # A run may be up to a chunk longer than configured; then its last rows replace its first.
    environments = config.environment.environments_per_teacher
    rows = replays.rows_needed(config.sac.replay_capacity, config.training.steps_per_teacher, environments)
    return replays.create(config.sac, teachers, rows, environments)


def collect(config: Config, population: Population, drones: Drone, iterations: int) -> tuple[Population, ChunkMetrics]:
    """Flies every environment for `iterations` steps without learning."""

    def fly(population: Population, keys: _FlightKeys) -> tuple[Population, Finished]:
        return _fly(config, population, drones, keys)

    keys = _flight_keys(config, population, (iterations,))
    after, finished = jax.lax.scan(fly, population, keys)
    absent = jnp.full(population.active.shape, jnp.nan)
    metrics = state.chunk_metrics(Losses(absent, absent, absent, absent, absent), state.total(finished))
    return freeze_non_finite(population, after), metrics


def train(config: Config, iterations: int, population: Population, drones: Drone) -> tuple[Population, ChunkMetrics]:
    """Flies and learns for `iterations` iterations.

    Each consists of actor_update_interval critic updates, each after steps_per_update steps of every environment; the
    first of them also updates actor and alpha.
    """
    # One array: on a GPU each array of an episode would be written, and copied, by a kernel of its own.
    pack, unpack = packing(population.episodes, batch_axes=2)

    def fly(population: Population, keys: _FlightKeys) -> tuple[Population, Finished]:
        population = population.replace(episodes=unpack(population.episodes))
        population, finished = _fly(config, population, drones, keys)
        return population.replace(episodes=pack(population.episodes)), finished

    def round_of_updates(population: Population, keys: tuple[_FlightKeys, _UpdateKeys]) -> tuple[Population, jax.Array]:
        flights, losses = [], []
        # A static loop: a `cond` on the count of updates would be a select over every weight under `vmap`.
        for update in range(interval):
            flight_keys, update_keys = take(keys, update)
            population, flight = jax.lax.scan(fly, population, flight_keys)
            flights.append(state.total(flight))
            population, loss = _learn(config, population, update_keys, with_actor=update == 0)
            losses.append(loss)
        report = state.mean_reported(state.stack(losses)), state.total(state.stack(flights))
        # One array: on a GPU a kernel would store each.
        return population, jnp.stack(jax.tree.leaves(report))

    interval, steps = config.sac.actor_update_interval, config.sac.steps_per_update
    keys = (
        _flight_keys(config, population, (iterations, interval, steps)),
        _update_keys(population, (iterations, interval)),
    )
    after, reports = jax.lax.scan(round_of_updates, population.replace(episodes=pack(population.episodes)), keys)
    after = after.replace(episodes=unpack(after.episodes))
    losses, finished = jax.tree.unflatten(_REPORT, jnp.moveaxis(reports, 1, 0))
    after = freeze_non_finite(population, after)
    losses = state.mean_reported(losses).replace(alpha=jnp.exp(after.teachers.log_alpha))
    return after, state.chunk_metrics(losses, state.total(finished))


def _fly(config: Config, population: Population, drones: Drone, keys: _FlightKeys) -> tuple[Population, Finished]:
    """Takes one step in every environment and stores it."""

    def one(
        teacher: Teacher, drone: Drone, episodes: Episode, keys: _FlightKeys
    ) -> tuple[Episode, episode.Outcome, jax.Array]:
        noise = jax.random.normal(keys.action, (*keys.environments.shape, ACTION_DIM))
        action, _ = sac.sample_action(config.sac, teacher.actor, episodes.observation, noise)
        following, outcome = jax.vmap(episode.advance_or_restart, in_axes=(None, 0, 0, None, 0))(
            drone, episodes, action, config.environment.episode_steps, keys.environments
        )
        return following, outcome, action

    following, outcome, action = jax.vmap(one)(population.teachers, drones, population.episodes, keys)
    experience = Experience(
        population.episodes.observation, action, outcome.reward, outcome.terminated, outcome.finished
    )
    assert population.replay is not None
    population = population.replace(
        episodes=following, replay=replays.insert(population.replay, experience), flown=population.flown + 1
    )
    ended = outcome.episode
    return population, state.finished_where(outcome.finished, ended.total_reward, ended.length)


def _learn(config: Config, population: Population, keys: _UpdateKeys, with_actor: bool) -> tuple[Population, Losses]:
    """Updates every teacher on a batch of its own experience."""
    assert population.replay is not None
    batch = replays.sample(population.replay, keys.batch, config.sac.critic_batch_size)
    update = functools.partial(sac.update, config.sac, with_actor=with_actor)
    teachers, losses = jax.vmap(update)(population.teachers, batch, keys.noise)
    return population.replace(teachers=teachers, updates=population.updates + 1), losses


def _flight_keys(config: Config, population: Population, shape: tuple[int, ...]) -> _FlightKeys:
    """Returns the keys of the next steps of every environment, with the leading axes `shape`."""
    keys = _split(_keys(population.keys, _FLIGHT, population.flown, shape), 2)
    return _FlightKeys(keys[..., 0], _split(keys[..., 1], config.environment.environments_per_teacher))


def _update_keys(population: Population, shape: tuple[int, ...]) -> _UpdateKeys:
    """Returns the keys of the next updates, with the leading axes `shape`."""
    keys = _split(_keys(population.keys, _LEARNING, population.updates, shape), 2)
    return _UpdateKeys(keys[..., 0], keys[..., 1])


def _keys(keys: jax.Array, stream: int, count: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Returns keys [*shape, T] of teachers [T], one for each count of a stream of draws, from `count` on."""

    def at(count: jax.Array) -> jax.Array:
        return jax.vmap(lambda key: jax.random.fold_in(jax.random.fold_in(key, stream), count))(keys)

    return jax.vmap(at)(count + jnp.arange(math.prod(shape), dtype=count.dtype)).reshape(*shape, -1)


def _split(keys: jax.Array, number: int) -> jax.Array:
    """Splits keys [...] into [..., number]."""
    return jax.vmap(lambda key: jax.random.split(key, number))(keys.ravel()).reshape(*keys.shape, number)
