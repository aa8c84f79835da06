"""The moving target: a smoothed Langevin process on each axis (L2F `70_post_integration.h`, `StateTrajectory`)."""

import jax
import jax.numpy as jnp

from raptor_jax.drones.parameters import Trajectory
from raptor_jax.simulator.state import Target


def advance(trajectory: Trajectory | None, target: Target, dt: jax.Array, noise: jax.Array | None) -> Target:
    """Returns the target one step later; a hover target is unchanged.

    Args:
        trajectory: parameters of the process; None if no target moves.
        target: the current target.
        dt: [] time step in s.
        noise: [3] standard normal samples (`Noise.target`); None if no target moves.
    """
    if trajectory is None or noise is None:
        return target
    langevin = trajectory.langevin
    acceleration = -langevin.gamma * target.raw_velocity - langevin.omega**2 * target.raw_position
    raw_velocity = target.raw_velocity + acceleration * dt + langevin.sigma * jnp.sqrt(dt) * noise
    velocity = langevin.alpha * raw_velocity + (1 - langevin.alpha) * target.velocity
    moved = Target(
        moving=target.moving,
        position=target.position + velocity * dt,
        velocity=velocity,
        raw_position=target.raw_position + raw_velocity * dt,
        raw_velocity=raw_velocity,
    )
    return jax.tree.map(lambda new, old: jnp.where(target.moving, new, old), moved, target)
