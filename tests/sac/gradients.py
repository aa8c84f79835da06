"""The gradient of a window in double precision, from states that NumPy draws: to compare one version with another.

`python -m tests.sac.gradients FILE` writes what the version at hand makes of it. tests/sac/gradients.npz is of the last
version whose simulator computed on arrays of three and four numbers.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone, max_rotor_distance, stack
from raptor_jax.sac import window
from raptor_jax.sac.window import Value
from raptor_jax.simulator.episode import Episode
from validation.drones import at_rest, replaced, sampled_drones
from validation.parity.transitions import double_precision

DRONES, ENVIRONMENTS, HORIZON, PROJECTIONS = 6, 4, 50, 8


def projected_gradients() -> np.ndarray:
    """Returns the gradients of the windows' returns of each drone, as products with random vectors: [DRONES, P]."""
    # With the limits and the penalty of that version.
    config = Config.model_validate({"sac": {"horizon": HORIZON, "critic_hidden_dim": 64, "termination_penalty": 0.0}})
    drones, episodes = stack([_with_former_limit(drone) for drone in sampled_drones(DRONES)]), _episodes()
    teacher = sac.create(config.sac, jax.random.key(0))
    # Actions are drawn from a policy as narrow as that of a trained teacher.
    teacher.actor["params"]["mlp"]["output"]["bias"] -= np.repeat([0, 3], 4)
    with double_precision():
        drones, episodes, teacher = jax.tree.map(_in_double, (drones, episodes, teacher))
        future = Value(teacher.actor, teacher.target_critic, jnp.exp(teacher.log_alpha))
        keys = jax.random.split(jax.random.key(0), ENVIRONMENTS)

        def gradient(drone, episodes):
            def total(actor):
                fly = jax.vmap(lambda start, key: window.fly(config, actor, future, drone, start, key)[0])
                return jnp.sum(fly(episodes, keys))

            return jax.grad(total)(teacher.actor)

        leaves = jax.tree.leaves(jax.jit(jax.vmap(gradient))(drones, episodes))
        flat = np.concatenate([np.asarray(leaf).reshape(DRONES, -1) for leaf in leaves], axis=1)
    return flat @ np.random.default_rng(1).normal(size=(flat.shape[1], PROJECTIONS))


def _in_double(leaf: np.ndarray | jax.Array) -> jax.Array:
    return jnp.asarray(leaf, jnp.float64 if jnp.issubdtype(leaf.dtype, jnp.floating) else None)


def _with_former_limit(drone: Drone) -> Drone:
    limit = np.maximum(20 * max_rotor_distance(drone.dynamics), 1.0)
    return replaced(drone, mdp__termination__position_threshold=limit)


def _episodes() -> Episode:
    """Returns running episodes [DRONES, ENVIRONMENTS, ...] near hover, with a constant force on each."""
    random, shape = np.random.default_rng(0), (DRONES, ENVIRONMENTS)

    def normal(size: int, scale: float) -> np.ndarray:
        return random.normal(0, scale, (*shape, size))

    turn = Rotation.from_rotvec(normal(3, 0.3).reshape(-1, 3))
    orientation = turn.as_quat(scalar_first=True).reshape(*shape, 4)
    rotor_state = random.uniform(0.2, 0.8, (*shape, 4))
    state = at_rest(
        *shape,
        position=normal(3, 0.2),
        orientation=orientation,
        linear_velocity=normal(3, 0.3),
        angular_velocity=normal(3, 0.3),
        rotor_state=rotor_state,
        force=normal(3, 1e-3),
        torque=normal(3, 1e-6),
        last_action=normal(4, 0.3),
        observed_action=2 * rotor_state - 1,
    )
    seen = turn.as_matrix().reshape(*shape, 9), state.linear_velocity, state.angular_velocity
    observation = np.concatenate([state.position, *seen, state.observed_action, state.observed_action], axis=-1)
    return Episode(state, observation, np.zeros(shape, np.int32), np.zeros(shape))


if __name__ == "__main__":
    np.savez(sys.argv[1], gradients=projected_gradients())
