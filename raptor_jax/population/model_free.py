"""Training at horizon 0: flight, replay and updates on its batches."""

import functools

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


def steps_per_iteration(config: Config) -> int:
    """Returns the environment steps of a teacher in one iteration: those of actor_update_interval critic updates."""
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


def create_replay(config: Config, teachers: int) -> replays.Replay:
    """Returns an empty replay of T teachers."""
    # A run may be up to a chunk longer than asked for; then its last rows replace its first.
    environments = config.environment.environments_per_teacher
    rows = replays.rows_needed(config.sac.replay_capacity, config.training.steps_per_teacher, environments)
    return replays.create(config.sac, teachers, rows, environments)


def collect(config: Config, population: Population, drones: Drone, iterations: int) -> tuple[Population, ChunkMetrics]:
    """Flies every environment for `iterations` steps without learning."""

    def fly(population: Population, _: None) -> tuple[Population, Finished]:
        return _fly(config, population, drones)

    after, finished = jax.lax.scan(fly, population, length=iterations)
    absent = jnp.full(population.active.shape, jnp.nan)
    metrics = state.chunk_metrics(Losses(absent, absent, absent, absent, absent), state.total(finished))
    return freeze_non_finite(population, after, ("teachers", "episodes")), metrics


def train(config: Config, iterations: int, population: Population, drones: Drone) -> tuple[Population, ChunkMetrics]:
    """Flies and learns for `iterations` rounds.

    A round is actor_update_interval critic updates, each after steps_per_update steps of every environment; the first
    of them updates actor and alpha too.
    """

    def fly(population: Population, _: None) -> tuple[Population, Finished]:
        return _fly(config, population, drones)

    def round_of_updates(population: Population, _: None) -> tuple[Population, tuple[Losses, Finished]]:
        flights, reports = [], []
        # A static loop: a `cond` on the count of updates would be a select over every weight under `vmap`.
        for update in range(config.sac.actor_update_interval):
            population, flight = jax.lax.scan(fly, population, length=config.sac.steps_per_update)
            flights.append(state.total(flight))
            population, report = _learn(config, population, with_actor=update == 0)
            reports.append(report)
        return population, (state.mean_reported(state.stack(reports)), state.total(state.stack(flights)))

    after, (losses, finished) = jax.lax.scan(round_of_updates, population, length=iterations)
    after = freeze_non_finite(population, after, ("teachers", "episodes"))
    losses = state.mean_reported(losses).replace(alpha=jnp.exp(after.teachers.log_alpha))
    return after, state.chunk_metrics(losses, state.total(finished))


def _fly(config: Config, population: Population, drones: Drone) -> tuple[Population, Finished]:
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
    assert population.replay is not None
    population = population.replace(
        episodes=following, replay=replays.insert(population.replay, experience), flown=population.flown + 1
    )
    ended = outcome.episode
    return population, state.finished_where(outcome.finished, ended.total_reward, ended.length)


def _learn(config: Config, population: Population, with_actor: bool) -> tuple[Population, Losses]:
    """Updates every teacher on a batch of its own experience."""
    assert population.replay is not None
    keys = jax.vmap(jax.random.split)(_keys_at(population.keys, 1, population.updates))
    batch = replays.sample(population.replay, keys[:, 0], config.sac.critic_batch_size)
    update = functools.partial(sac.update, config.sac, with_actor=with_actor)
    teachers, losses = jax.vmap(update)(population.teachers, batch, keys[:, 1])
    return population.replace(teachers=teachers, updates=population.updates + 1), losses


def _keys_at(keys: jax.Array, stream: int, count: jax.Array) -> jax.Array:
    """Returns each teacher's key [T] for one step of one stream of draws (0 flight, 1 learning)."""
    return jax.vmap(lambda key: jax.random.fold_in(jax.random.fold_in(key, stream), count))(keys)
