"""Single steps from random states: the cases, what our simulator and the reference make of them, and the difference.

How a difference is measured: positions, velocities, rates, forces and torques by the largest component of the
difference over the largest component of the second one's vector, taken as at least 1 (m, m/s, rad/s, N, N m);
orientations, rotor states, actions likewise, which leaves the largest component of the difference; rewards relative to
the second one, taken as at least 1.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import jax
import numpy as np

from raptor_jax import simulator
from raptor_jax.drones.parameters import Drone, stack, torque_to_inertia, weight
from raptor_jax.simulator import State, Target
from validation.drones import on_device, rounded, take
from validation.parity import reference_numpy

MOTION = ("position", "orientation", "linear_velocity", "angular_velocity", "rotor_state")
"""The groups of a state that are integrated."""

OBSERVATION_GROUPS = {
    "position": slice(0, 3),
    "orientation": slice(3, 12),
    "linear_velocity": slice(12, 15),
    "angular_velocity": slice(15, 18),
    "observed_action": slice(18, 22),
}
"""The part of an observation that L2F's has too."""

CHUNK = 1024
"""Rows that are computed at a time: one shape, and so one compilation, for every test."""


class Transitions(NamedTuple):
    """Where steps start: B drones with their states and actions, all of them exact in float32."""

    drones: list[Drone]
    """The distinct drones."""
    index: np.ndarray
    """[B] which of them each row flies."""
    state: State
    action: np.ndarray
    """[B, 4], some of it outside [-1, 1]."""

    def stacked(self) -> Drone:
        """Returns the drones with a leading axis [B]."""
        return take(stack(self.drones), self.index)

    def listed(self) -> list[Drone]:
        """Returns the drone of each row."""
        return [self.drones[i] for i in self.index]

    def repeated(self, count: int) -> "Transitions":
        """Returns the first row again and again."""
        return Transitions(self.drones, *take(self[1:], np.zeros(count, int)))


class Outcome(NamedTuple):
    """What a simulator makes of transitions; the reward and its termination take `next_state` as given."""

    next_state: State
    reward: np.ndarray
    terminated: np.ndarray
    observation: np.ndarray


def draw_transitions(drones: Sequence[Drone], per_drone: int, seed: int) -> Transitions:
    """Draws states and actions for each drone: half of the states in free tumbling, half near level hover.

    Half of the targets move. Near hover yaw goes down to 1e-4 rad, where the reward's arc cosine loses its digits.
    """
    random = np.random.default_rng(seed)
    index = np.repeat(np.arange(len(drones)), per_drone)
    dynamics = take(stack(drones), index).dynamics
    count = len(index)
    tumbling = (np.arange(count) % 2 == 0)[:, None]
    tilt = random.normal(0, 1, (count, 3)) * 10 ** random.uniform(-4, -1, (count, 3))
    small_turn = np.concatenate([np.ones((count, 1)), tilt], axis=1)
    orientation = np.where(tumbling, random.normal(0, 1, (count, 4)), small_turn)
    scale = np.where(tumbling, [[3.0, 3.0, 15.0]], [[0.3, 0.3, 0.5]])
    limit = dynamics.action_limit
    rotor_state = random.uniform(limit.min, limit.max, (4, count)).T
    greatest_torque = torque_to_inertia(dynamics) * dynamics.J[:, 0, 0]
    moving = random.random(count) < 0.5
    state = State(
        position=random.normal(0, 1, (count, 3)) * scale[:, :1],
        orientation=orientation / np.linalg.norm(orientation, axis=1, keepdims=True),
        linear_velocity=random.normal(0, 1, (count, 3)) * scale[:, 1:2],
        angular_velocity=random.normal(0, 1, (count, 3)) * scale[:, 2:],
        rotor_state=rotor_state,
        force=random.normal(0, 0.3, (count, 3)) * weight(dynamics)[:, None],
        torque=random.normal(0, 0.1, (count, 3)) * greatest_torque[:, None],
        last_action=random.uniform(-1.2, 1.2, (count, 4)),
        observed_action=random.uniform(-1.2, 1.2, (count, 4)),
        target=Target(moving, *(moving[:, None] * random.normal(0, 0.5, (4, count, 3)))),
    )
    action = random.uniform(-1.3, 1.3, (count, 4))
    return Transitions([rounded(drone) for drone in drones], index, rounded(state), rounded(action))


def draw_initial_states(drone: Drone, count: int, seed: int) -> State:
    """Returns what `simulator.reset` draws for a drone, [count]."""
    return jax.tree.map(np.asarray, _resets(on_device(drone), jax.random.split(jax.random.key(seed), count)))


def double_precision() -> AbstractContextManager:
    """Returns a context in which JAX computes in float64; its name depends on the version of JAX."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    from jax.experimental import enable_x64

    return enable_x64()


def ours(starts: Transitions, next_state: State, seed: int = 0) -> Outcome:
    """Returns what `raptor_jax.simulator` makes of transitions, in the precision in force; each row has its own key."""
    count = len(starts.action)
    keys = jax.random.split(jax.random.key(seed), count)
    rows = (*on_device((starts.stacked(), starts.state, starts.action, next_state)), keys)
    outcomes = []
    for first in range(0, count, CHUNK):
        # The last chunk is filled up with the last row.
        chunk = take(rows, np.minimum(np.arange(first, first + CHUNK), count - 1))
        outcomes.append(jax.tree.map(np.asarray, _outcome(*chunk)))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *outcomes)


def numpy_reference(starts: Transitions, next_state: State) -> Outcome:
    """Returns what the float64 reference makes of transitions."""
    drone, state, action = starts.stacked(), starts.state, starts.action
    return Outcome(
        next_state=reference_numpy.step(drone, state, action),
        reward=reference_numpy.reward(drone, state, action, next_state),
        terminated=reference_numpy.terminated(drone, next_state),
        observation=reference_numpy.observe(drone, state),
    )


def differences(a: State, b: State, groups: Sequence[str] = MOTION) -> dict[str, np.ndarray]:
    """Returns the difference of each group of two states, [...] each, measured as the module says."""
    return {group: _difference(getattr(a, group), getattr(b, group)) for group in groups}


def observation_differences(a: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the difference of each group of two observations."""
    return {group: _difference(a[..., columns], b[..., columns]) for group, columns in OBSERVATION_GROUPS.items()}


def reward_difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the differences [...] of rewards."""
    return _difference(a[..., None], b[..., None])


_resets = jax.jit(jax.vmap(simulator.reset, in_axes=(None, 0)))


@jax.jit
@jax.vmap
def _outcome(drone: Drone, state: State, action: jax.Array, next_state: State, key: jax.Array) -> Outcome:
    noise = simulator.draw_noise(drone, key)
    return Outcome(
        next_state=simulator.step(drone, state, action, noise),
        reward=simulator.reward(drone, state, action, next_state),
        terminated=simulator.terminated(drone, next_state),
        observation=simulator.observe(drone, state, noise.observation),
    )


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.max(np.abs(a - b), axis=-1) / np.maximum(np.max(np.abs(b), axis=-1), 1.0)
