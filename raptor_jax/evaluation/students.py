"""Evaluation of a student: one recurrent policy on many drones, in the episodes of `evaluation.evaluate`."""

import functools

import jax
import numpy as np

from raptor_jax import student
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.evaluation.flights import (
    PER_EPISODE,
    PER_TEACHER,
    Evaluation,
    Flight,
    episode_keys,
    fly_episode,
    keep_nothing,
    over_flights,
    summary,
)


@functools.partial(jax.jit, static_argnames=("config", "episodes", "stream"))
def evaluate(config: Config, weights: student.Weights, drones: Drone, episodes: int, stream: int) -> Evaluation:
    """Evaluates a student on every drone.

    Args:
        config: settings; the seeds follow from `training.seed`.
        weights: weights of the student.
        drones: every array [D, ...].
        episodes: E, the episodes on each drone.
        stream: SELECTION or FINAL.

    Returns:
        The results on each drone, every array [D].
    """

    def act(memory: jax.Array, observation: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        return (*student.act_clipped(weights, memory, observation), key)

    def fly(drone: Drone, key: jax.Array) -> Flight:
        return fly_episode(config, drone, key, act, student.fresh_memory(weights), keep_nothing)[0]

    return summary(over_flights(fly, PER_TEACHER, PER_EPISODE)(drones, episode_keys(config, episodes, stream)))


class StudentPolicy:
    """A student as a policy outside of JAX, with a memory for each episode of a batch (see `evaluation.Policy`)."""

    def __init__(self, weights: student.Weights) -> None:
        """Takes the weights of the student."""
        self._weights, self._act = weights, jax.jit(student.act_clipped)
        self.reset()

    def reset(self) -> None:
        """Clears the memory."""
        self._memory = student.fresh_memory(self._weights)

    def evaluate_step(self, observation: np.ndarray) -> np.ndarray:
        """Returns the actions [B, 4] at observations [B, 26]."""
        memory = jax.numpy.broadcast_to(self._memory, (observation.shape[0], self._memory.shape[-1]))
        self._memory, action = self._act(self._weights, memory, observation)
        return np.asarray(action)
