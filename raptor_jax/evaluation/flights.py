"""How good are these actors: deterministic flights from fixed seeds, every teacher and episode at once."""

import functools
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.simulator import ACTION_DIM, State, draw_noise, episode, reward
from raptor_jax.simulator.episode import Episode, Outcome
from raptor_jax.simulator.quaternion import yaw

SELECTION, JUDGEMENT = 0, 1
"""Streams of seeds: the first chooses the best actor during training, the second judges it and chooses nothing."""


class Evaluation(struct.PyTreeNode):
    """Per teacher, [T], over the episodes; the offsets are NaN where no episode lived to see its second half."""

    mean_return: jax.Array
    std_return: jax.Array
    episode_length: jax.Array
    """Mean, in steps."""
    share_terminated: jax.Array
    """Share of the episodes that ended by leaving the limits."""
    final_position_error: jax.Array
    """Mean distance in m from the target at the end of an episode."""
    position_offset: jax.Array
    """Length in m of the mean position error over the second half of all episodes: what is always on the same side."""
    yaw_offset: jax.Array
    """Size in rad of the mean yaw over the same steps."""


class Flight(struct.PyTreeNode):
    """An episode that is flown to its end and not restarted; once finished it stays as it was."""

    episode: Episode
    finished: jax.Array
    """[] bool."""
    terminated: jax.Array
    """[] bool, it finished by leaving the limits."""
    late_steps: jax.Array
    """[] steps of the second half of the episode so far."""
    late_position_error: jax.Array
    """[3] sum over these of the position error, m, world."""
    late_yaw: jax.Array
    """[] sum over these of the yaw, rad."""


class Rollout(struct.PyTreeNode):
    """Every step of an episode; 0 after its end."""

    state: State
    """Each [steps, ...], at which the action was taken."""
    observation: jax.Array
    """[steps, 26] of that state."""
    action: jax.Array
    """[steps, 4] taken there."""
    reward: jax.Array
    """[steps] gained by that action."""


class Policy(Protocol):
    """A controller outside of JAX, with or without a memory."""

    def reset(self) -> None:
        """Forgets the past: a batch of new episodes begins."""

    def evaluate_step(self, observation: np.ndarray) -> np.ndarray:
        """Returns the actions [B, 4] at the observations [B, 26] of B episodes, one step after the last call."""


@functools.partial(jax.jit, static_argnames=("config", "episodes", "stream", "sampled"))
def evaluate(
    config: Config, actors: sac.Parameters, drones: Drone, episodes: int, stream: int, sampled: bool = False
) -> Evaluation:
    """Flies each actor on its own drone, with the mean action or with sampled ones.

    Args:
        config: settings; the seeds follow from `training.seed`.
        actors: weights, each [T, ...].
        drones: every array [T, ...].
        episodes: episodes of each teacher; the same initial draws for all teachers.
        stream: SELECTION or JUDGEMENT.
        sampled: draw every action from the policy, as in training.
    """
    one = functools.partial(fly, config, sampled=sampled)
    flights = jax.vmap(jax.vmap(one, in_axes=(None, None, 0)), in_axes=(0, 0, None))
    return summary(flights(actors, drones, episode_keys(config, episodes, stream)))


@functools.partial(jax.jit, static_argnames=("config", "episodes", "stream"))
def roll_out(config: Config, actor: sac.Parameters, drone: Drone, episodes: int, stream: int) -> tuple[Flight, Rollout]:
    """Flies one actor on its drone in the episodes of `evaluate`, and returns every step; every array [E, ...].

    Args:
        config: settings; the seeds follow from `training.seed`.
        actor: its weights.
        drone: its drone.
        episodes: E.
        stream: SELECTION or JUDGEMENT.
    """
    flights = jax.vmap(functools.partial(_fly_and_keep, config), in_axes=(None, None, 0))
    return flights(actor, drone, episode_keys(config, episodes, stream))


@functools.partial(jax.jit, static_argnames=("config", "episodes", "stream"))
def roll_out_first(
    config: Config, actors: sac.Parameters, drones: Drone, episodes: int, stream: int
) -> tuple[Flight, Rollout]:
    """Flies the first of the episodes of `evaluate`, whose arguments these are; every array [T, ...]."""
    key = episode_keys(config, episodes, stream)[0]
    return jax.vmap(functools.partial(_fly_and_keep, config), in_axes=(0, 0, None))(actors, drones, key)


def evaluate_policy(config: Config, policy: Policy, drones: Drone, episodes: int, stream: int) -> Evaluation:
    """Flies one policy that lives outside of JAX on every drone, in the very episodes of `evaluate`; T, E and B = T E.

    Args and result as of `evaluate`; the policy is called once a step for all drones and episodes.
    """
    start_keys, step_keys = jax.vmap(lambda key: flight_keys(config, key))(episode_keys(config, episodes, stream))
    over_episodes, over_drones = (None, 0), (0, None)
    flights = jax.jit(jax.vmap(jax.vmap(start, in_axes=over_episodes), in_axes=over_drones))(drones, start_keys)
    step = jax.jit(
        jax.vmap(jax.vmap(functools.partial(proceed, config), in_axes=(None, 0, 0, 0)), in_axes=(0, 0, 0, None)),
        donate_argnums=1,
    )
    policy.reset()
    for number in range(config.environment.episode_steps):
        observation = np.asarray(flights.episode.observation)
        batch = policy.evaluate_step(observation.reshape(-1, observation.shape[-1]))
        action = jnp.asarray(batch, observation.dtype).reshape(*observation.shape[:2], ACTION_DIM)
        flights = step(drones, flights, action, step_keys[:, number])
    return summary(flights)


def fly(config: Config, actor: sac.Parameters, drone: Drone, key: jax.Array, sampled: bool = False) -> Flight:
    """Flies one episode of one drone to its end, with the mean action or with sampled ones."""

    def step(flight: Flight, key: jax.Array) -> tuple[Flight, None]:
        if sampled:
            key, noise_key = jax.random.split(key)
            noise = jax.random.normal(noise_key, (ACTION_DIM,))
            action, _ = sac.sample_action(config.sac, actor, flight.episode.observation, noise)
        else:
            action = sac.deterministic_action(config.sac, actor, flight.episode.observation)
        return proceed(config, drone, flight, action, key), None

    start_key, step_keys = flight_keys(config, key)
    flight, _ = jax.lax.scan(step, start(drone, start_key), step_keys)
    return flight


def _fly_and_keep(config: Config, actor: sac.Parameters, drone: Drone, key: jax.Array) -> tuple[Flight, Rollout]:
    """Flies the same episode as `fly`, and keeps every step."""

    def step(flight: Flight, key: jax.Array) -> tuple[Flight, Rollout]:
        observation = flight.episode.observation
        action = sac.deterministic_action(config.sac, actor, observation)
        following = proceed(config, drone, flight, action, key)
        gained = reward(drone, flight.episode.state, action, following.episode.state)
        taken = Rollout(flight.episode.state, observation, action, gained)
        return following, jax.tree.map(lambda leaf: jnp.where(flight.finished, 0, leaf), taken)

    start_key, step_keys = flight_keys(config, key)
    return jax.lax.scan(step, start(drone, start_key), step_keys)


def start(drone: Drone, key: jax.Array) -> Flight:
    """Returns a flight at its start."""
    fresh = episode.start(drone, key)
    never, zero = jnp.zeros((), bool), jnp.zeros_like(fresh.total_reward)
    return Flight(fresh, never, never, zero, jnp.zeros_like(fresh.state.position), zero)


def proceed(config: Config, drone: Drone, flight: Flight, action: jax.Array, key: jax.Array) -> Flight:
    """Takes one step of a flight, if it is not finished."""
    noise = draw_noise(drone, key)
    return count(
        config, flight, episode.advance(drone, flight.episode, action, config.environment.episode_steps, noise)
    )


def count(config: Config, flight: Flight, outcome: Outcome) -> Flight:
    """Adds what a step brought about to a flight, if that is not finished."""
    state = outcome.episode.state
    late = outcome.episode.length > config.environment.episode_steps // 2
    ahead = Flight(
        outcome.episode,
        outcome.finished,
        outcome.terminated,
        flight.late_steps + late,
        flight.late_position_error + late * (state.position - state.target.position),
        flight.late_yaw + late * yaw(state.orientation),
    )
    return jax.tree.map(lambda new, old: jnp.where(flight.finished, old, new), ahead, flight)


def episode_keys(config: Config, episodes: int, stream: int) -> jax.Array:
    """Returns the keys [E] of the episodes of a stream, the same for every teacher."""
    key = jax.random.fold_in(jax.random.key(config.training.seed), 2**31 + stream)
    return jax.random.split(key, episodes)


def flight_keys(config: Config, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the keys of an episode's start [] and of its steps."""
    start_key, flight_key = jax.random.split(key)
    return start_key, jax.random.split(flight_key, config.environment.episode_steps)


def summary(flights: Flight) -> Evaluation:
    """Returns the numbers of flights [T, E]."""
    last = flights.episode
    error = jnp.linalg.norm(last.state.position - last.state.target.position, axis=-1)
    late_steps = flights.late_steps.sum(axis=1)
    offset = flights.late_position_error.sum(axis=1) / late_steps[:, None]
    return Evaluation(
        mean_return=last.total_reward.mean(axis=1),
        std_return=last.total_reward.std(axis=1),
        episode_length=last.length.mean(axis=1),
        share_terminated=flights.terminated.mean(axis=1),
        final_position_error=error.mean(axis=1),
        position_offset=jnp.linalg.norm(offset, axis=-1),
        yaw_offset=jnp.abs(flights.late_yaw.sum(axis=1) / late_steps),
    )
