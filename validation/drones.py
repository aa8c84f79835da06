"""Drones for the simulator's tests: the reference ones, sampled ones, and deliberately crooked ones."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from raptor_jax.config import SamplingConfig
from raptor_jax.drones.files import load_directory
from raptor_jax.drones.parameters import ActionLimit, Drone
from raptor_jax.drones.sampling import sample_drone
from raptor_jax.simulator import State, Target

REFERENCE = Path(__file__).parents[1].parent / "shared" / "reference"


def reference_drones() -> list[Drone]:
    """Returns the 64 drones that RLtools drew and the 4 of its registry."""
    return [file.drone for folder in ("dynamics", "registry") for file in load_directory(REFERENCE / folder)]


def sampled_drones(count: int, task: str = "default") -> list[Drone]:
    """Returns the first drones of our own distribution."""
    config = SamplingConfig(task=task)
    return [sample_drone(config, index)[0] for index in range(count)]


def crooked(drone: Drone, random: np.random.Generator) -> Drone:
    """Returns a drone without any symmetry and a task with every weight on.

    Four different rotors, tilted thrust and torque directions, a full inertia matrix, tilted gravity and action limits
    inside (0, 1): a factor that is forgotten shows on such a drone, but not always on a real one.
    """
    dynamics = drone.dynamics
    skew = random.uniform(-0.5, 0.5, (3, 3))
    inertia = dynamics.J + (skew + skew.T) / 2 * 0.2 * np.trace(dynamics.J) / 3
    limit = ActionLimit(min=np.array(random.uniform(0, 0.2)), max=np.array(random.uniform(0.8, 1)))
    arm = np.abs(dynamics.rotor_positions).max()
    dynamics = dynamics.replace(
        rotor_positions=dynamics.rotor_positions + random.normal(0, 0.1 * arm, (4, 3)),
        rotor_thrust_directions=_tilted(dynamics.rotor_thrust_directions, random),
        rotor_torque_directions=_tilted(dynamics.rotor_torque_directions, random),
        rotor_thrust_coefficients=dynamics.rotor_thrust_coefficients * random.uniform(0.8, 1.2, (4, 3)),
        rotor_torque_constants=dynamics.rotor_torque_constants * random.uniform(0.5, 2, 4),
        rotor_time_constants_rising=dynamics.rotor_time_constants_rising * random.uniform(0.5, 2, 4),
        rotor_time_constants_falling=dynamics.rotor_time_constants_falling * random.uniform(0.5, 2, 4),
        gravity=dynamics.gravity + random.normal(0, 1, 3),
        J=inertia,
        J_inv=np.linalg.inv(inertia),
        action_limit=limit,
    )
    return drone.replace(dynamics=dynamics, mdp=_every_weight(drone.mdp, random))


def replaced(drone: Drone, **values: Any) -> Drone:
    """Returns the drone with leaves replaced, named by path with double underscores: `mdp__init__guidance=1.0`."""
    for path, value in values.items():
        drone = _with_leaf(drone, path.split("__"), value)
    return drone


def calm(drone: Drone, **values: Any) -> Drone:
    """Returns the drone without disturbances, starting level and at rest at the origin."""
    return replaced(drone, disturbances__random_force__std=0.0, mdp__init__guidance=1.0, **values)


def at_rest(*shape: int, **fields: Any) -> State:
    """Returns level states [*shape] at rest at the origin with the rotors off, but for the given fields."""
    zero, four_zeros = np.zeros((*shape, 3)), np.zeros((*shape, 4))
    level = np.tile([1.0, 0, 0, 0], (*shape, 1))
    hover = Target(np.zeros(shape, bool), zero, zero, zero, zero)
    return State(zero, level, zero, zero, four_zeros, zero, zero, four_zeros, four_zeros, hover).replace(**fields)


def on_device(tree: Any) -> Any:
    """Returns a tree of NumPy arrays as JAX arrays of the precision in force; bools stay bools."""
    dtype = jnp.result_type(float)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, bool if np.asarray(leaf).dtype == bool else dtype), tree)


def rounded(tree: Any) -> Any:
    """Returns a tree whose floats are float64 with values that float32 holds exactly."""
    return jax.tree.map(lambda leaf: leaf if np.asarray(leaf).dtype == bool else np.float64(np.float32(leaf)), tree)


def take(tree: Any, index: Sequence[int] | np.ndarray) -> Any:
    """Returns the rows `index` of every leaf."""
    return jax.tree.map(lambda leaf: leaf[np.asarray(index)], tree)


def _with_leaf(group: Any, path: list[str], value: Any) -> Any:
    name, *rest = path
    old = getattr(group, name)
    new = _with_leaf(old, rest, value) if rest else np.asarray(value, np.asarray(old).dtype)
    return group.replace(**{name: new})


def _every_weight(mdp: Any, random: np.random.Generator) -> Any:
    weights = {field.name: np.array(random.uniform(0.1, 1)) for field in dataclasses.fields(mdp.reward)}
    weights |= {
        "non_negative": np.array(random.random() < 0.3),
        "constant": np.array(random.uniform(0, 3)),
        "termination_penalty": np.array(random.uniform(-100, 0)),
        "position_clip": np.array(random.choice([0.0, random.uniform(0.5, 3)])),
        "linear_acceleration": np.array(random.uniform(0.001, 0.1)),
        "angular_acceleration": np.array(random.uniform(0.0001, 0.001)),
    }
    termination = mdp.termination.replace(
        enabled=np.array(random.random() < 0.8),
        position_threshold=np.array(random.uniform(2, 8)),
        linear_velocity_threshold=np.array(random.uniform(2, 8)),
        angular_velocity_threshold=np.array(random.uniform(5, 35)),
    )
    return mdp.replace(reward=mdp.reward.replace(**weights), termination=termination)


def _tilted(directions: np.ndarray, random: np.random.Generator) -> np.ndarray:
    tilted = directions + random.normal(0, 0.1, directions.shape)
    return tilted / np.linalg.norm(tilted, axis=-1, keepdims=True)
