"""The state of one simulated drone."""

import jax
from flax import struct


class Target(struct.PyTreeNode):
    """The target of the drone, and the Langevin process that moves it (L2F `StateTrajectory`).

    For hover all values stay zero, so position and velocity are the desired ones in both cases.
    """

    moving: jax.Array
    """[] bool, whether the target of this episode moves."""
    position: jax.Array
    """[3] m, desired position, world frame (smoothed)."""
    velocity: jax.Array
    """[3] m/s, desired velocity, world frame (smoothed)."""
    raw_position: jax.Array
    """[3] m, the process before smoothing."""
    raw_velocity: jax.Array
    """[3] m/s, the process before smoothing."""


class State(struct.PyTreeNode):
    """The state of one drone between two steps."""

    position: jax.Array
    """[3] m, world frame."""
    orientation: jax.Array
    """[4] unit quaternion (w, x, y, z), body to world."""
    linear_velocity: jax.Array
    """[3] m/s, world frame."""
    angular_velocity: jax.Array
    """[3] rad/s, body frame."""
    rotor_state: jax.Array
    """[4] state of each rotor, within and in the unit of `action_limit` ("rpm" in L2F)."""
    force: jax.Array
    """[3] N, external force of this episode, world frame."""
    torque: jax.Array
    """[3] N m, external torque of this episode, body frame."""
    last_action: jax.Array
    """[4] previous action, as the d_action cost uses it: 0 after a reset."""
    observed_action: jax.Array
    """[4] previous action, as observed: the scaled rotor state after a reset (L2F `action_history`)."""
    target: Target
