"""How good are these actors: deterministic flights from fixed seeds, every teacher and episode at once."""

import functools

import jax
import jax.numpy as jnp
from flax import struct

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.dynamics.parameters import Drone
from raptor_jax.simulator import episode

SELECTION, JUDGEMENT = 0, 1
"""Streams of seeds: the first chooses the best actor during training, the second judges it and chooses nothing."""


class Evaluation(struct.PyTreeNode):
    """Per teacher, [T], over the episodes."""

    mean_return: jax.Array
    std_return: jax.Array
    episode_length: jax.Array
    """Mean, in steps."""
    share_terminated: jax.Array
    """Share of the episodes that ended by leaving the limits."""
    final_position_error: jax.Array
    """Mean distance in m from the target at the end of an episode."""


@functools.partial(jax.jit, static_argnames=("config", "episodes", "stream"))
def evaluate(config: Config, actors: sac.Parameters, drones: Drone, episodes: int, stream: int) -> Evaluation:
    """Flies each actor on its own drone, with the mean action.

    Args:
        config: settings; the seeds follow from `training.seed`.
        actors: weights, each [T, ...].
        drones: every array [T, ...].
        episodes: episodes of each teacher; the same initial draws for all teachers.
        stream: SELECTION or JUDGEMENT.
    """
    key = jax.random.fold_in(jax.random.key(config.training.seed), 2**31 + stream)
    keys = jax.random.split(key, episodes)
    flights = jax.vmap(jax.vmap(functools.partial(fly, config), in_axes=(None, None, 0)), in_axes=(0, 0, None))
    final, terminated = flights(actors, drones, keys)
    error = jnp.linalg.norm(final.state.position - final.state.target.position, axis=-1)
    return Evaluation(
        mean_return=final.total_reward.mean(axis=1),
        std_return=final.total_reward.std(axis=1),
        episode_length=final.length.mean(axis=1),
        share_terminated=terminated.mean(axis=1),
        final_position_error=error.mean(axis=1),
    )


def fly(config: Config, actor: sac.Parameters, drone: Drone, key: jax.Array) -> tuple[episode.Episode, jax.Array]:
    """Flies one episode of one drone to its end. Returns its last state and totals, and whether it terminated []."""

    def step(carry: tuple[episode.Episode, jax.Array, jax.Array], key: jax.Array) -> tuple[tuple, None]:
        now, finished, terminated = carry
        action = sac.deterministic_action(config.sac, actor, now.observation)
        outcome = episode.advance(drone, now, action, config.environment.episode_steps, key)
        following = jax.tree.map(lambda new, old: jnp.where(finished, old, new), outcome.episode, now)
        return (following, finished | outcome.finished, terminated | (~finished & outcome.terminated)), None

    start_key, flight_key = jax.random.split(key)
    running = jnp.zeros((), bool)
    keys = jax.random.split(flight_key, config.environment.episode_steps)
    (last, _, terminated), _ = jax.lax.scan(step, (episode.start(drone, start_key), running, running), keys)
    return last, terminated
