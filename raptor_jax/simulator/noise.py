"""The noise of simulator steps, sampled by the caller: for all steps of a flight at once, or not at all if unused.

A call of the random generator consists of many small operations, even for few samples.
"""

import jax
from flax import struct

from raptor_jax.drones.parameters import Drone

OBSERVATION_GROUPS = (3, 9, 3, 3)
"""Sizes of the observation groups with noise: position, rotation matrix, linear velocity, body rates."""


class Noise(struct.PyTreeNode):
    """Standard normal samples of a step, or of several with leading axes; None if the task of the drone uses none."""

    action: jax.Array | None = None
    """[4] noise of the action."""
    target: jax.Array | None = None
    """[3] noise of a moving target."""
    observation: jax.Array | None = None
    """[18] noise of the observation after the step."""


def draw_noise(drone: Drone, key: jax.Array, *steps: int) -> Noise:
    """Samples the noise of steps: every array has the leading axes `steps`, none for a single step."""
    # One key for each kind: the samples of a drone must not depend on the kinds that its population uses.
    action_key, target_key, observation_key = jax.random.split(key, 3)

    def normal(key: jax.Array, used_by: object, size: int) -> jax.Array | None:
        return None if used_by is None else jax.random.normal(key, (*steps, size), drone.dynamics.mass.dtype)

    return Noise(
        action=normal(action_key, drone.mdp.action_noise, 4),
        target=normal(target_key, drone.trajectory, 3),
        observation=normal(observation_key, drone.mdp.observation_noise, sum(OBSERVATION_GROUPS)),
    )
