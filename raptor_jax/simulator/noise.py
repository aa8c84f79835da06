"""The noise of steps, drawn by the caller: for as many steps at once as it flies, or not at all where nothing uses it.

A call of the random generator is many small operations, however little it draws.
"""

import jax
from flax import struct

from raptor_jax.drones.parameters import Drone

OBSERVATION_GROUPS = (3, 9, 3, 3)
"""Entries of the observation that have noise: position, rotation matrix, linear velocity, body rates."""


class Noise(struct.PyTreeNode):
    """Standard normal draws of a step, or of several with leading axes; None where the drone's task uses none."""

    action: jax.Array | None = None
    """[4] on the action."""
    target: jax.Array | None = None
    """[3] on a moving target."""
    observation: jax.Array | None = None
    """[18] on the observation after the step."""


def draw_noise(drone: Drone, key: jax.Array, *steps: int) -> Noise:
    """Draws the noise of steps: every array gets the leading axes `steps`, none for a single step."""
    # A key for each kind: what a drone draws must not depend on what the others of its population use.
    action_key, target_key, observation_key = jax.random.split(key, 3)

    def normal(key: jax.Array, used_by: object, size: int) -> jax.Array | None:
        return None if used_by is None else jax.random.normal(key, (*steps, size), drone.dynamics.mass.dtype)

    return Noise(
        action=normal(action_key, drone.mdp.action_noise, 4),
        target=normal(target_key, drone.trajectory, 3),
        observation=normal(observation_key, drone.mdp.observation_noise, sum(OBSERVATION_GROUPS)),
    )
