"""What a teacher sees (L2F `40_observe.h`, the privileged observation of RAPTOR's pre-training)."""

import jax
import jax.numpy as jnp

from raptor_jax.dynamics.parameters import Drone
from raptor_jax.simulator import action as actions
from raptor_jax.simulator.quaternion import rotation_matrix
from raptor_jax.simulator.state import State

ACTION_DIM = 4
OBSERVATION_DIM = 26
_GROUPS = (3, 9, 3, 3)


def observe(drone: Drone, state: State, key: jax.Array) -> jax.Array:
    """Returns the observation [26] of a state.

    Position error (3, m, world), rotation matrix row by row (9), velocity error (3, m/s, world), body rates (3, rad/s),
    the action before (4), rotor state scaled to [-1, 1] (4). The first four groups carry the task's Gaussian noise.
    """
    noise = drone.mdp.observation_noise
    deviations = (noise.position, noise.orientation, noise.linear_velocity, noise.angular_velocity)
    deviation = jnp.concatenate([jnp.broadcast_to(d, (n,)) for d, n in zip(deviations, _GROUPS, strict=True)])
    pose_and_velocity = jnp.concatenate(
        [
            state.position - state.target.position,
            rotation_matrix(state.orientation).reshape(9),
            state.linear_velocity - state.target.velocity,
            state.angular_velocity,
        ]
    )
    noisy = pose_and_velocity + deviation * jax.random.normal(key, (sum(_GROUPS),), dtype=state.position.dtype)
    scaled_rotor_state = actions.from_rotor_state(drone.dynamics.action_limit, state.rotor_state)
    return jnp.concatenate([noisy, state.observed_action, scaled_rotor_state])
