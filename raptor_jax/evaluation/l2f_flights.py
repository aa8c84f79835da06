"""Teachers in the original simulator: the episodes of `evaluation`, flown by the `l2f` package."""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone, with_idle_noise
from raptor_jax.evaluation.flights import Evaluation, Flight, count, episode_keys, flight_keys, start, summary
from raptor_jax.evaluation.l2f_simulator import COMMON_OBSERVATION, LARGEST_BATCH, L2FSimulator
from raptor_jax.simulator import State, Target, draw_noise, episode
from raptor_jax.simulator.action import from_rotor_state


def evaluate(config: Config, actors: sac.Parameters, drones: Drone, episodes: int, stream: int) -> Evaluation:
    """Flies each actor on its own drone, with the mean action, in the original simulator.

    Physics, observation, reward and termination are l2f's, and so is the noise of a task that has any. The initial
    states are those of `evaluation.evaluate` (l2f draws angles of 1 rad at most, whatever the task says), and the
    target moves as there (the package is compiled without moving targets).

    Args:
        config: settings; the seeds follow from `training.seed`.
        actors: weights, each [T, ...].
        drones: every array [T, ...].
        episodes: E, at most LARGEST_BATCH.
        stream: SELECTION or JUDGEMENT.
    """
    teachers = drones.dynamics.mass.shape[0]
    # As many teachers at once as the package holds environments.
    group = LARGEST_BATCH // episodes
    parts = []
    for first in range(0, teachers, group):
        actors_here, drones_here = jax.tree.map(operator.itemgetter(slice(first, first + group)), (actors, drones))
        parts.append(_evaluate_group(config, actors_here, drones_here, episodes, stream))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _evaluate_group(config: Config, actors: sac.Parameters, drones: Drone, episodes: int, stream: int) -> Evaluation:
    teachers = drones.dynamics.mass.shape[0]
    flights, step_keys = _start(config, drones, episode_keys(config, episodes, stream))
    rows = [jax.tree.map(lambda leaf, row=row: np.asarray(leaf[row]), drones) for row in range(teachers)]
    listed = [with_idle_noise(drone) for drone in rows]
    original = L2FSimulator([drone for drone in listed for _ in range(episodes)], config.training.seed)
    original.write(_as_batch(flights.episode.state))
    for keys in step_keys:
        observed = original.observe().reshape(teachers, episodes, COMMON_OBSERVATION)
        action = _act(config, actors, drones, flights.episode.state, observed)
        original.step(_as_batch(action))
        original.write_next_target(_as_batch(_next_target(config, drones, flights, action, keys)))
        found = original.reward(_as_batch(action)), original.terminated()
        original.advance()
        per_teacher = jax.tree.map(
            lambda leaf: leaf.reshape(teachers, episodes, *leaf.shape[1:]), (original.read(), *found)
        )
        flights = _count(config, flights, *per_teacher)
    return summary(flights)


def _as_batch(tree: Any) -> Any:
    """Returns arrays [T, E, ...] as NumPy's [T E, ...]."""
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), tree)


@functools.partial(jax.jit, static_argnames="config")
def _start(config: Config, drones: Drone, keys: jax.Array) -> tuple[Flight, jax.Array]:
    """Returns flights [T, E] at their start, and the keys [steps, E] of their steps."""
    start_keys, step_keys = jax.vmap(lambda key: flight_keys(config, key))(keys)
    return jax.vmap(jax.vmap(start, in_axes=(None, 0)), in_axes=(0, None))(drones, start_keys), step_keys.T


@functools.partial(jax.jit, static_argnames="config")
def _act(config: Config, actors: sac.Parameters, drones: Drone, state: State, observed: jax.Array) -> jax.Array:
    """Returns the mean actions [T, E, 4]; l2f's observation lacks the rotor states at the end of ours."""

    def act(actor: sac.Parameters, drone: Drone, state: State, observed: jax.Array) -> jax.Array:
        rotor_state = from_rotor_state(drone.dynamics.action_limit, state.rotor_state)
        return sac.deterministic_action(config.sac, actor, jnp.concatenate([observed, rotor_state]))

    return jax.vmap(jax.vmap(act, in_axes=(None, None, 0, 0)))(actors, drones, state, observed)


@functools.partial(jax.jit, static_argnames="config")
def _next_target(config: Config, drones: Drone, flights: Flight, action: jax.Array, keys: jax.Array) -> Target:
    """Returns where the targets [T, E] go in this step: as in our simulator, whatever the drones do."""

    def move(drone: Drone, flight: Flight, action: jax.Array, key: jax.Array) -> Target:
        noise = draw_noise(drone, key)
        outcome = episode.advance(drone, flight.episode, action, config.environment.episode_steps, noise)
        return outcome.episode.state.target

    return jax.vmap(jax.vmap(move, in_axes=(None, 0, 0, 0)), in_axes=(0, 0, 0, None))(drones, flights, action, keys)


@functools.partial(jax.jit, static_argnames="config", donate_argnames="flights")
def _count(config: Config, flights: Flight, state: State, reward: jax.Array, terminated: jax.Array) -> Flight:
    """Adds a step of the original simulator to flights [T, E]."""

    def add(flight: Flight, state: State, reward: jax.Array, terminated: jax.Array) -> Flight:
        before = flight.episode
        following = episode.Episode(state, before.observation, before.length + 1, before.total_reward + reward)
        finished = terminated | (following.length >= config.environment.episode_steps)
        return count(config, flight, episode.Outcome(reward, terminated, finished, following))

    return jax.vmap(jax.vmap(add))(flights, state, reward, terminated)
