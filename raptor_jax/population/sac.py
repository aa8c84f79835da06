"""A population that learns by SAC: flight, replay and update of every teacher in one jitted scan."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import struct

from raptor_jax import replay as replays
from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.dynamics.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.population.blocks import block_by_block, block_size, tree_bytes
from raptor_jax.population.per_teacher import freeze_non_finite, teacher_key
from raptor_jax.population.schedule import Schedule, cut
from raptor_jax.replay import Experience, Replay
from raptor_jax.sac import Losses, Teacher
from raptor_jax.simulator import ACTION_DIM, episode
from raptor_jax.simulator.episode import Episode


class Population(struct.PyTreeNode):
    """T teachers in training."""

    teachers: Teacher
    """Every array [T, ...]."""
    episodes: Episode
    """Every array [T, E, ...]."""
    replay: Replay
    keys: jax.Array
    """[T] random key of each teacher; never changes."""
    flown: jax.Array
    """[] int32, steps of every environment so far."""
    updates: jax.Array
    """[] int32, critic updates of every teacher so far."""
    active: jax.Array
    """[T] bool, False once a teacher's numbers became non-finite: it stays as it was before that chunk."""


class _Finished(struct.PyTreeNode):
    """Sums over the episodes that finished, [T]; a mean of means would weigh a lone crash like a full house."""

    episodes: jax.Array
    reward: jax.Array
    """Sum of their returns."""
    length: jax.Array
    """Sum of their lengths."""


class ChunkMetrics(struct.PyTreeNode):
    """What a chunk reports of each teacher, [T]; NaN where there is nothing to report."""

    critic_loss: jax.Array
    actor_loss: jax.Array
    alpha: jax.Array
    """Entropy weight at the end of the chunk; the losses and the value are means over it."""
    q_value: jax.Array
    episode_reward: jax.Array
    """Mean return of the episodes that finished in the chunk."""
    episode_length: jax.Array
    """Mean length of these, in steps."""


def steps_per_iteration(config: Config) -> int:
    """Returns the environment steps of a teacher in one iteration of `train`."""
    return config.sac.actor_update_interval * config.sac.steps_per_update * config.environment.environments_per_teacher


def schedule(config: Config) -> Schedule:
    """Returns how a run is cut into calls of `collect` and `train`.

    Raises:
        UserError: the run would end before learning begins.
    """
    environments = config.environment.environments_per_teacher
    warmup_iterations = -(-config.sac.n_warmup_steps // environments)
    learning_steps = config.training.steps_per_teacher - warmup_iterations * environments
    if learning_steps <= 0:
        raise UserError(
            f"training.steps_per_teacher: {config.training.steps_per_teacher} ends before learning begins, after"
            f" sac.n_warmup_steps {config.sac.n_warmup_steps}; raise the one or lower the other"
        )
    interval = config.sac.actor_update_interval
    return cut(config, warmup_iterations, steps_per_iteration(config), learning_steps, interval)


def actors(population: Population) -> sac.Parameters:
    """Returns the actors' weights, each [T, ...]."""
    return population.teachers.actor


def replay_rows(config: Config) -> int:
    """Returns the rows of each teacher's replay buffer."""
    # A run may be up to a chunk longer than asked for; then its last rows replace its first.
    return replays.rows_needed(
        config.sac.replay_capacity, config.training.steps_per_teacher, config.environment.environments_per_teacher
    )


@functools.partial(jax.jit, static_argnames=("config", "attempt"))
def create(
    config: Config, drones: Drone, teacher_ids: jax.Array, start: sac.Parameters | None = None, attempt: int = 0
) -> Population:
    """Returns an untrained population.

    Args:
        config: settings.
        drones: every array [T, ...].
        teacher_ids: [T] identity of each teacher, which seeds it.
        start: None; SAC begins with random weights, for its critics would first undo a trained actor.
        attempt: at training these teachers; every attempt has seeds of its own.
    """

    chex.assert_equal(start, None)

    def one(drone: Drone, teacher_id: jax.Array) -> tuple[Teacher, Episode, jax.Array]:
        key = teacher_key(config, teacher_id, attempt)
        weights_key, episodes_key, run_key = jax.random.split(key, 3)
        episode_keys = jax.random.split(episodes_key, config.environment.environments_per_teacher)
        episodes = jax.vmap(episode.start, in_axes=(None, 0))(drone, episode_keys)
        return sac.create(config.sac, weights_key), episodes, run_key

    teachers, episodes, keys = jax.vmap(one)(drones, teacher_ids)
    count = teacher_ids.shape[0]
    zero = jnp.zeros((), jnp.int32)
    return Population(
        teachers=teachers,
        episodes=episodes,
        replay=replays.create(config.sac, count, replay_rows(config), config.environment.environments_per_teacher),
        keys=keys,
        flown=zero,
        updates=zero,
        active=jnp.ones(count, bool),
    )


@functools.partial(jax.jit, static_argnames=("config", "iterations"), donate_argnames="population")
def collect(config: Config, population: Population, drones: Drone, iterations: int) -> tuple[Population, ChunkMetrics]:
    """Flies every environment for `iterations` steps without learning. The population is donated."""

    def fly(population: Population, _: None) -> tuple[Population, _Finished]:
        return _fly(config, population, drones)

    after, finished = jax.lax.scan(fly, population, length=iterations)
    absent = jnp.full(population.active.shape, jnp.nan)
    metrics = _chunk_metrics(Losses(absent, absent, absent, absent), _total(finished))
    return freeze_non_finite(population, after, ("teachers", "episodes")), metrics


@functools.partial(jax.jit, static_argnames=("config", "iterations", "platform"), donate_argnames="population")
def train(
    config: Config, population: Population, drones: Drone, iterations: int, platform: str = "cpu"
) -> tuple[Population, ChunkMetrics]:
    """Flies and learns for `iterations` rounds. The population is donated, so the replay is written in place.

    A round is actor_update_interval critic updates, each after steps_per_update steps of every environment; the first
    of them updates actor and alpha too. Compiled for a processor (`platform` is that of the devices, `cpu` or `gpu`),
    block after block of teachers goes through all rounds.
    """
    teachers = population.active.shape[0]
    size = block_size(teachers, tree_bytes(population.teachers) // teachers, platform)
    return block_by_block(functools.partial(_train_block, config, iterations), population, drones, size)


def _train_block(
    config: Config, iterations: int, population: Population, drones: Drone
) -> tuple[Population, ChunkMetrics]:
    def fly(population: Population, _: None) -> tuple[Population, _Finished]:
        return _fly(config, population, drones)

    def round_of_updates(population: Population, _: None) -> tuple[Population, tuple[Losses, _Finished]]:
        flights, reports = [], []
        # A static loop: a `cond` on the count of updates would be a select over every weight under `vmap`.
        for update in range(config.sac.actor_update_interval):
            population, flight = jax.lax.scan(fly, population, length=config.sac.steps_per_update)
            flights.append(_total(flight))
            population, report = _learn(config, population, with_actor=update == 0)
            reports.append(report)
        return population, (_mean_reported(_stack(reports)), _total(_stack(flights)))

    after, (losses, finished) = jax.lax.scan(round_of_updates, population, length=iterations)
    after = freeze_non_finite(population, after, ("teachers", "episodes"))
    losses = _mean_reported(losses).replace(alpha=jnp.exp(after.teachers.log_alpha))
    return after, _chunk_metrics(losses, _total(finished))


def _fly(config: Config, population: Population, drones: Drone) -> tuple[Population, _Finished]:
    """Takes one step in every environment and stores it."""

    def one(
        teacher: Teacher, drone: Drone, episodes: Episode, key: jax.Array
    ) -> tuple[Episode, episode.Outcome, jax.Array]:
        noise_key, environment_key = jax.random.split(key)
        environments = episodes.observation.shape[0]
        noise = jax.random.normal(noise_key, (environments, ACTION_DIM))
        action, _ = sac.sample_action(config.sac, teacher.actor, episodes.observation, noise)
        following, outcome = jax.vmap(episode.advance_or_restart, in_axes=(None, 0, 0, None, 0))(
            drone, episodes, action, config.environment.episode_steps, jax.random.split(environment_key, environments)
        )
        return following, outcome, action

    keys = _keys_at(population.keys, 0, population.flown)
    following, outcome, action = jax.vmap(one)(population.teachers, drones, population.episodes, keys)
    experience = Experience(
        population.episodes.observation, action, outcome.reward, outcome.terminated, outcome.finished
    )
    population = population.replace(
        episodes=following, replay=replays.insert(population.replay, experience), flown=population.flown + 1
    )
    return population, _finished(outcome)


def _learn(config: Config, population: Population, with_actor: bool) -> tuple[Population, Losses]:
    """Updates every teacher on a batch of its own experience."""
    keys = jax.vmap(jax.random.split)(_keys_at(population.keys, 1, population.updates))
    batch = replays.sample(population.replay, keys[:, 0], config.sac.critic_batch_size)
    update = functools.partial(sac.update, config.sac, with_actor=with_actor)
    teachers, losses = jax.vmap(update)(population.teachers, batch, keys[:, 1])
    return population.replace(teachers=teachers, updates=population.updates + 1), losses


def _keys_at(keys: jax.Array, stream: int, count: jax.Array) -> jax.Array:
    """Returns each teacher's key [T] for one step of one stream of draws (0 flight, 1 learning)."""
    return jax.vmap(lambda key: jax.random.fold_in(jax.random.fold_in(key, stream), count))(keys)


def _finished(outcome: episode.Outcome) -> _Finished:
    """Returns the sums over the environments [T, E] whose episode has just finished."""

    def total(values: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(outcome.finished, values, 0), axis=1, dtype=jnp.float32)

    return _Finished(total(jnp.ones(())), total(outcome.episode.total_reward), total(outcome.episode.length))


def _stack(reports: list[Any]) -> Any:
    return jax.tree.map(lambda *values: jnp.stack(values), *reports)


def _total(finished: _Finished) -> _Finished:
    """Adds up over the leading axis."""
    return jax.tree.map(lambda values: values.sum(axis=0), finished)


def _mean_reported(losses: Losses) -> Losses:
    """Averages over the leading axis what was reported, and leaves NaN where nothing was."""
    return jax.tree.map(lambda values: jnp.nanmean(values, axis=0), losses)


def _chunk_metrics(losses: Losses, finished: _Finished) -> ChunkMetrics:
    """Puts a chunk's report together; a mean over no episode is 0 / 0, NaN."""
    return ChunkMetrics(
        critic_loss=losses.critic_loss,
        actor_loss=losses.actor_loss,
        alpha=losses.alpha,
        q_value=losses.q_value,
        episode_reward=finished.reward / finished.episodes,
        episode_length=finished.length / finished.episodes,
    )
