"""Episodes: a step with its reward, and the reset at the end of an episode."""

import jax
import jax.numpy as jnp
from flax import struct

from raptor_jax.drones.parameters import Drone
from raptor_jax.simulator.noise import Noise, draw_noise
from raptor_jax.simulator.observation import observe
from raptor_jax.simulator.reset import reset
from raptor_jax.simulator.reward import reward, terminated
from raptor_jax.simulator.state import State
from raptor_jax.simulator.step import step


class Episode(struct.PyTreeNode):
    """A running episode."""

    state: State
    observation: jax.Array
    """[26] of `state`."""
    length: jax.Array
    """[] int32, number of steps so far."""
    total_reward: jax.Array
    """[] undiscounted return so far."""


class Outcome(struct.PyTreeNode):
    """The result of one step; `episode` is the one to which the step belongs, before a reset."""

    reward: jax.Array
    terminated: jax.Array
    """[] bool, the next state is terminal."""
    finished: jax.Array
    """[] bool, terminated, or truncated at the longest length."""
    episode: Episode


def start(drone: Drone, key: jax.Array) -> Episode:
    """Returns a new episode of one drone."""
    reset_key, observation_key = jax.random.split(key)
    state = reset(drone, reset_key)
    zero = jnp.zeros((), state.position.dtype)
    noise = draw_noise(drone, observation_key)
    return Episode(state, observe(drone, state, noise.observation), jnp.zeros((), jnp.int32), zero)


def advance(drone: Drone, episode: Episode, action: jax.Array, episode_steps: int, noise: Noise) -> Outcome:
    """Takes one step of an episode with an action [4], without a reset at its end."""
    next_state = step(drone, episode.state, action, noise)
    gained = reward(drone, episode.state, action, next_state)
    ended = terminated(drone, next_state)
    length = episode.length + 1
    observation = observe(drone, next_state, noise.observation)
    following = Episode(next_state, observation, length, episode.total_reward + gained)
    return Outcome(gained, ended, ended | (length >= episode_steps), following)


def advance_or_restart(
    drone: Drone, episode: Episode, action: jax.Array, episode_steps: int, key: jax.Array
) -> tuple[Episode, Outcome]:
    """Takes one step with an action [4], and resets if it finished the episode.

    Returns:
        The episode for the next step, and the outcome of this step in the episode to which it belongs.
    """
    noise_key, start_key = jax.random.split(key)
    outcome = advance(drone, episode, action, episode_steps, draw_noise(drone, noise_key))
    fresh = start(drone, start_key)
    following = jax.tree.map(lambda new, old: jnp.where(outcome.finished, new, old), fresh, outcome.episode)
    return following, outcome
