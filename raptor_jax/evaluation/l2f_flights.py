"""Flights in the original simulator: the episodes of `evaluation.evaluate`, simulated by the `l2f` package."""

import functools
from collections.abc import Callable
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
    Policy,
    accumulate,
    episode_keys,
    flight_keys,
    over_flights,
    reset,
    summary,
)
from raptor_jax.evaluation.l2f_simulator import COMMON_OBSERVATION, LARGEST_BATCH, L2FSimulator
from raptor_jax.simulator import ACTION_DIM, State, Target, draw_noise, episode
from raptor_jax.simulator.action import from_rotor_state
from raptor_jax.utils.trees import leading_size, take


def evaluate(config: Config, actors: sac.Parameters, drones: Drone, episodes: int, stream: int) -> Evaluation:
    """Evaluates each actor on its own drone, with the mean action, in the original simulator.

    Arguments, result and errors are those of `evaluate_policy`, except for the weights `actors`, each [T, ...].
    """

    def policy_of(rows: slice) -> Policy:
        return _Actors(config, take(actors, rows), episodes)

    return _evaluate(config, policy_of, drones, episodes, stream)


def evaluate_policy(config: Config, policy: Policy, drones: Drone, episodes: int, stream: int) -> Evaluation:
    """Evaluates one policy on every drone in the original simulator.

    Physics, observation, reward, termination and noise are those of l2f. The initial states are those of
    `evaluation.evaluate`, because l2f draws angles of at most 1 rad regardless of the task; so are the targets, because
    the package is compiled without moving targets.

    Args:
        config: settings; the seeds follow from `training.seed`.
        policy: flies all drones.
        drones: every array [T, ...].
        episodes: E, at most LARGEST_BATCH.
        stream: SELECTION or FINAL.

    Raises:
        UserError: more episodes than the package holds environments.
    """
    return _evaluate(config, lambda rows: policy, drones, episodes, stream)


class _Actors:
    """Actors of T teachers as one policy (see `evaluation.Policy`)."""

    def __init__(self, config: Config, actors: sac.Parameters, episodes: int) -> None:
        self._actors, self._episodes = actors, episodes
        act = functools.partial(sac.deterministic_action, config.sac)
        self._act = jax.jit(over_flights(act, PER_TEACHER, PER_FLIGHT))

    def reset(self) -> None:
        """Does nothing: an actor has no memory."""

    def evaluate_step(self, observation: np.ndarray) -> np.ndarray:
        """Returns the mean actions [T E, 4] at observations [T E, 26]."""
        flights = observation.reshape(-1, self._episodes, observation.shape[-1])
        return np.asarray(self._act(self._actors, flights)).reshape(-1, ACTION_DIM)


def _evaluate(
    config: Config, policy_of: Callable[[slice], Policy], drones: Drone, episodes: int, stream: int
) -> Evaluation:
    """Evaluates groups of drones, each as large as the package's number of environments allows.

    Args:
        config: settings.
        policy_of: returns the policy of a slice of the drones.
        drones: every array [T, ...].
        episodes: E.
        stream: stream of the seeds.
    """
    if episodes > LARGEST_BATCH:
        raise UserError(f"--simulator l2f: at most {LARGEST_BATCH} episodes, not {episodes}; lower --episodes")
    group = LARGEST_BATCH // episodes
    parts = []
    for first in range(0, leading_size(drones), group):
        rows = slice(first, first + group)
        parts.append(_evaluate_group(config, policy_of(rows), take(drones, rows), episodes, stream))
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def _evaluate_group(config: Config, policy: Policy, drones: Drone, episodes: int, stream: int) -> Evaluation:
    """Evaluates one group of drones at once."""
    teachers = leading_size(drones)
    flights, step_keys = _reset(config, drones, episode_keys(config, episodes, stream))
    rows = [jax.tree.map(np.asarray, take(drones, row)) for row in range(teachers)]
    noisy = [with_idle_noise(drone) for drone in rows]
    simulator = L2FSimulator([drone for drone in noisy for _ in range(episodes)], config.training.seed)
    simulator.write(_flatten(flights.episode.state))
    policy.reset()
    for keys in step_keys:
        observed = simulator.observe().reshape(teachers, episodes, COMMON_OBSERVATION)
        observation = _flatten(_with_rotor_states(drones, flights.episode.state, observed))
        action = policy.evaluate_step(observation)
        simulator.step(action)
        per_flight = action.reshape(teachers, episodes, ACTION_DIM)
        simulator.write_next_target(_flatten(_next_target(config, drones, flights, per_flight, keys)))
        outcome = simulator.reward(action), simulator.terminated()
        simulator.advance()
        after = jax.tree.map(
            lambda leaf: leaf.reshape(teachers, episodes, *leaf.shape[1:]), (simulator.read(), *outcome)
        )
        flights = _accumulate(config, flights, *after)
    return summary(flights)


def _flatten(tree: Any) -> Any:
    """Returns arrays [T, E, ...] as NumPy arrays [T E, ...]."""
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), tree)


@functools.partial(jax.jit, static_argnames="config")
def _reset(config: Config, drones: Drone, keys: jax.Array) -> tuple[Flight, jax.Array]:
    """Returns flights [T, E] at their beginning, and the keys [steps, E] of their steps."""
    reset_keys, step_keys = jax.vmap(lambda key: flight_keys(config, key))(keys)
    return over_flights(reset, PER_TEACHER, PER_EPISODE)(drones, reset_keys), step_keys.T


@jax.jit
def _with_rotor_states(drones: Drone, state: State, observed: jax.Array) -> jax.Array:
    """Returns observations [T, E, 26]: those of l2f [T, E, 22], with the rotor states appended."""

    def join(drone: Drone, state: State, observed: jax.Array) -> jax.Array:
        return jnp.concatenate([observed, from_rotor_state(drone.dynamics.action_limit, state.rotor_state)])

    return over_flights(join, PER_TEACHER, PER_FLIGHT, PER_FLIGHT)(drones, state, observed)


@functools.partial(jax.jit, static_argnames="config")
def _next_target(config: Config, drones: Drone, flights: Flight, action: jax.Array, keys: jax.Array) -> Target:
    """Returns the targets [T, E] after this step, as in raptor_jax; they do not depend on the drones' motion."""

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
