"""The state of one simulated drone."""

import jax
from flax import struct


class Target(struct.PyTreeNode):
    """What the drone should follow, and the Langevin process behind it (L2F `StateTrajectory`).

    In hover all of it stays zero, so position and velocity are the desired ones whatever the episode drew.
    """

    moving: jax.Array
    """[] bool, whether this episode's target moves."""
    position: jax.Array
    """[3] m, desired position, world frame (smoothed)."""
    velocity: jax.Array
    """[3] m/s, desired velocity, world frame (smoothed)."""
    raw_position: jax.Array
    """[3] m, the process before smoothing."""
    raw_velocity: jax.Array
    """[3] m/s, the process before smoothing."""


class State(struct.PyTreeNode):
    """Everything that `step` needs to go on."""

    position: jax.Array
    """[3] m, world frame."""
    orientation: jax.Array
    """[4] unit quaternion (w, x, y, z), body to world."""
    linear_velocity: jax.Array
    """[3] m/s, world frame."""
    angular_velocity: jax.Array
    """[3] rad/s, body frame."""
    rotor_state: jax.Array
    """[4] relative throttle that each rotor has reached, inside the action limits ("rpm" in L2F)."""
    force: jax.Array
    """[3] N, external force of this episode, world frame."""
    torque: jax.Array
    """[3] N m, external torque of this episode, body frame."""
    last_action: jax.Array
    """[4] the action before, as the reward's d_action sees it: 0 after a reset."""
    observed_action: jax.Array
    """[4] the action before, as observed: the scaled rotor state after a reset (L2F `action_history`)."""
    target: Target
