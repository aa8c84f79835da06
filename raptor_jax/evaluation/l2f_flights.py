"""Teachers in the original simulator: the episodes of `evaluation.evaluate`, flown by the `l2f` package."""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone, with_idle_noise
from raptor_jax.errors import UserError
from raptor_jax.evaluation.flights import (
    PER_EPISODE,
    PER_FLIGHT,
    PER_TEACHER,
    Evaluation,
    Flight,
    accumulate,
    episode_keys,
    flight_keys,
    over_flights,
    reset,
    summary,
)
from raptor_jax.evaluation.l2f_simulator import COMMON_OBSERVATION, LARGEST_BATCH, L2FSimulator
from raptor_jax.simulator import State, Target, draw_noise, episode
from raptor_jax.simulator.action import from_rotor_state


def evaluate(config: Config, actors: sac.Parameters, drones: Drone, episodes: int, stream: int) -> Evaluation:
    """Evaluates each actor on its own drone, with the mean action, in the original simulator.

    Physics, observation, reward, termination and noise are those of l2f. The initial states are those of
    `evaluation.evaluate`, because l2f draws angles of at most 1 rad whatever the task says; so are the targets, because
    the package is compiled without moving targets.

    Args:
        config: settings; the seeds follow from `training.seed`.
        actors: weights, each [T, ...].
        drones: every array [T, ...].
        episodes: E, at most LARGEST_BATCH.
        stream: SELECTION or JUDGEMENT.

    Raises:
        UserError: more episodes than the package holds environments.
    """
    if episodes > LARGEST_BATCH:
        raise UserError(f"--simulator l2f: holds {LARGEST_BATCH} episodes at most, not {episodes}; lower --episodes")
    teachers = drones.dynamics.mass.shape[0]
    group = LARGEST_BATCH // episodes
    parts = []
    for first in range(0, teachers, group):
        group_actors, group_drones = jax.tree.map(operator.itemgetter(slice(first, first + group)), (actors, drones))
        parts.append(_evaluate_group(config, group_actors, group_drones, episodes, stream))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _evaluate_group(config: Config, actors: sac.Parameters, drones: Drone, episodes: int, stream: int) -> Evaluation:
    """Evaluates as many teachers at once as the package holds environments."""
    teachers = drones.dynamics.mass.shape[0]
    flights, step_keys = _reset(config, drones, episode_keys(config, episodes, stream))
    rows = [jax.tree.map(lambda leaf, row=row: np.asarray(leaf[row]), drones) for row in range(teachers)]
    noisy = [with_idle_noise(drone) for drone in rows]
    simulator = L2FSimulator([drone for drone in noisy for _ in range(episodes)], config.training.seed)
    simulator.write(_flatten(flights.episode.state))
    for keys in step_keys:
        observed = simulator.observe().reshape(teachers, episodes, COMMON_OBSERVATION)
        action = _act(config, actors, drones, flights.episode.state, observed)
        simulator.step(_flatten(action))
        simulator.write_next_target(_flatten(_next_target(config, drones, flights, action, keys)))
        outcome = simulator.reward(_flatten(action)), simulator.terminated()
        simulator.advance()
        per_flight = jax.tree.map(
            lambda leaf: leaf.reshape(teachers, episodes, *leaf.shape[1:]), (simulator.read(), *outcome)
        )
        flights = _accumulate(config, flights, *per_flight)
    return summary(flights)


def _flatten(tree: Any) -> Any:
    """Returns arrays [T, E, ...] as NumPy arrays [T E, ...]."""
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), tree)


@functools.partial(jax.jit, static_argnames="config")
def _reset(config: Config, drones: Drone, keys: jax.Array) -> tuple[Flight, jax.Array]:
    """Returns flights [T, E] at their beginning, and the keys [steps, E] of their steps."""
    reset_keys, step_keys = jax.vmap(lambda key: flight_keys(config, key))(keys)
    return over_flights(reset, PER_TEACHER, PER_EPISODE)(drones, reset_keys), step_keys.T


@functools.partial(jax.jit, static_argnames="config")
def _act(config: Config, actors: sac.Parameters, drones: Drone, state: State, observed: jax.Array) -> jax.Array:
    """Returns the mean actions [T, E, 4]; the observation of l2f lacks the rotor states at the end of ours."""

    def act(actor: sac.Parameters, drone: Drone, state: State, observed: jax.Array) -> jax.Array:
        rotor_state = from_rotor_state(drone.dynamics.action_limit, state.rotor_state)
        return sac.deterministic_action(config.sac, actor, jnp.concatenate([observed, rotor_state]))

    return over_flights(act, PER_TEACHER, PER_TEACHER, PER_FLIGHT, PER_FLIGHT)(actors, drones, state, observed)


@functools.partial(jax.jit, static_argnames="config")
def _next_target(config: Config, drones: Drone, flights: Flight, action: jax.Array, keys: jax.Array) -> Target:
    """Returns the targets [T, E] after this step, as in our simulator; they do not depend on the drones' motion."""

    def move(drone: Drone, flight: Flight, action: jax.Array, key: jax.Array) -> Target:
        noise = draw_noise(drone, key)
        outcome = episode.advance(drone, flight.episode, action, config.environment.episode_steps, noise)
        return outcome.episode.state.target

    return over_flights(move, PER_TEACHER, PER_FLIGHT, PER_FLIGHT, PER_EPISODE)(drones, flights, action, keys)


@functools.partial(jax.jit, static_argnames="config", donate_argnames="flights")
def _accumulate(config: Config, flights: Flight, state: State, reward: jax.Array, terminated: jax.Array) -> Flight:
    """Adds a step of the original simulator to flights [T, E]."""

    def add(flight: Flight, state: State, reward: jax.Array, terminated: jax.Array) -> Flight:
        before = flight.episode
        following = episode.Episode(state, before.observation, before.length + 1, before.total_reward + reward)
        finished = terminated | (following.length >= config.environment.episode_steps)
        return accumulate(config, flight, episode.Outcome(reward, terminated, finished, following))

    return over_flights(add, PER_FLIGHT, PER_FLIGHT, PER_FLIGHT, PER_FLIGHT)(flights, state, reward, terminated)
