"""The observation of a teacher (L2F `40_observe.h`, the privileged observation of RAPTOR's pre-training)."""

import jax
import jax.numpy as jnp

from raptor_jax.drones.parameters import Drone
from raptor_jax.simulator import action as actions
from raptor_jax.simulator.noise import OBSERVATION_GROUPS
from raptor_jax.simulator.quaternion import Quat, rotation_matrix
from raptor_jax.simulator.state import State

ACTION_DIM = 4
OBSERVATION_DIM = 26
WITHOUT_ROTORS = 22
"""The first numbers of the observation: all but the rotor states, which no autopilot measures."""


def observe(drone: Drone, state: State, noise: jax.Array | None) -> jax.Array:
    """Returns the observation [26] of a state.

    Position error (3, m, world frame), rotation matrix body to world row by row (9), velocity error (3, m/s, world
    frame), body rates (3, rad/s), previous action (4), rotor state scaled to [-1, 1] (4). The first four groups have
    the Gaussian noise of the task.

    Args:
        drone: physics and task.
        state: the observed state.
        noise: [18] standard normal samples (`Noise.observation`); None if the task has no noise.
    """
    pose_and_velocity = jnp.concatenate(
        [
            state.position - state.target.position,
            jnp.stack(rotation_matrix(Quat.of(state.orientation))),
            state.linear_velocity - state.target.velocity,
            state.angular_velocity,
        ]
    )
    deviations = drone.mdp.observation_noise
    if noise is not None and deviations is not None:
        groups = (deviations.position, deviations.orientation, deviations.linear_velocity, deviations.angular_velocity)
        deviation = [jnp.broadcast_to(d, (n,)) for d, n in zip(groups, OBSERVATION_GROUPS, strict=True)]
        pose_and_velocity = pose_and_velocity + jnp.concatenate(deviation) * noise
    scaled_rotor_state = actions.from_rotor_state(drone.dynamics.action_limit, state.rotor_state)
    return jnp.concatenate([pose_and_velocity, state.observed_action, scaled_rotor_state])
