"""Trains one teacher on many drones at once; its actor is the warm start of other teachers."""

import functools

import jax
import jax.numpy as jnp
from flax import struct

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.population.expansion import start_episodes, total_updates
from raptor_jax.sac import Losses, Teacher
from raptor_jax.simulator.episode import Episode


class Start(struct.PyTreeNode):
    """A teacher in training on D drones, with `environments_per_teacher` windows of each in every update."""

    teacher: Teacher
    episodes: Episode
    """Every array [D E, ...]."""
    key: jax.Array
    updates: jax.Array
    """[] int32, updates so far."""


def create(config: Config, drones: Drone) -> Start:
    """Returns an untrained teacher; drones: every array [D, ...]."""
    weights_key, episodes_key, run_key = jax.random.split(jax.random.key(config.training.seed), 3)
    episodes = start_episodes(config, _for_each_window(config, drones), episodes_key)
    return Start(sac.create(config.sac, weights_key), episodes, run_key, jnp.zeros((), jnp.int32))


@functools.partial(jax.jit, static_argnames=("config", "iterations"), donate_argnames="start")
def train(config: Config, start: Start, drones: Drone, iterations: int) -> tuple[Start, Losses]:
    """Makes `iterations` updates of the donated start; returns it, and the means over these updates, each []."""
    windows = _for_each_window(config, drones)

    def update(start: Start, _: None) -> tuple[Start, Losses]:
        key = jax.random.fold_in(start.key, start.updates)
        teacher, episodes, _windows, losses = sac.update_on_windows(
            config, total_updates(config), start.teacher, windows, start.episodes, key
        )
        return start.replace(teacher=teacher, episodes=episodes, updates=start.updates + 1), losses

    after, losses = jax.lax.scan(update, start, length=iterations)
    return after, jax.tree.map(jnp.mean, losses)


def _for_each_window(config: Config, drones: Drone) -> Drone:
    windows = config.environment.environments_per_teacher
    return jax.tree.map(lambda leaf: jnp.repeat(leaf, windows, axis=0), drones)
