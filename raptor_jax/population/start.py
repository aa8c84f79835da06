"""One actor for many drones at once: what a teacher may begin with."""

import functools

import jax
import jax.numpy as jnp
from flax import struct

from raptor_jax import apg, sac
from raptor_jax.apg import Learner, WindowMetrics
from raptor_jax.config import Config
from raptor_jax.dynamics.parameters import Drone
from raptor_jax.population.apg import start_episodes, total_updates
from raptor_jax.simulator.episode import Episode


class Start(struct.PyTreeNode):
    """An actor in training on D drones, with `apg.environments_per_teacher` windows of each in every update."""

    learner: Learner
    episodes: Episode
    """Every array [D E, ...]."""
    key: jax.Array
    updates: jax.Array
    """[] int32, updates so far."""


def create(config: Config, drones: Drone) -> Start:
    """Returns an untrained actor; drones: every array [D, ...]."""
    weights_key, episodes_key, run_key = jax.random.split(jax.random.key(config.training.seed), 3)
    learner = apg.create(config, total_updates(config), sac.create(config.sac, weights_key).actor)
    episodes = start_episodes(config, _for_each_window(config, drones), episodes_key)
    return Start(learner, episodes, run_key, jnp.zeros((), jnp.int32))


@functools.partial(jax.jit, static_argnames=("config", "iterations"), donate_argnames="start")
def train(config: Config, start: Start, drones: Drone, iterations: int) -> tuple[Start, WindowMetrics]:
    """Makes `iterations` updates; returns the start, which is donated, and the means over these updates, each []."""
    windows = _for_each_window(config, drones)

    def update(start: Start, _: None) -> tuple[Start, WindowMetrics]:
        key = jax.random.fold_in(start.key, start.updates)
        learner, episodes, metrics = apg.improve(
            config, total_updates(config), start.learner, windows, start.episodes, key
        )
        return start.replace(learner=learner, episodes=episodes, updates=start.updates + 1), metrics

    after, metrics = jax.lax.scan(update, start, length=iterations)
    return after, jax.tree.map(jnp.mean, metrics)


def _for_each_window(config: Config, drones: Drone) -> Drone:
    return jax.tree.map(lambda leaf: jnp.repeat(leaf, config.apg.environments_per_teacher, axis=0), drones)
