"""Cases for comparisons of the simulator with others, and how far two simulators lie apart.

How a difference is measured. Position, velocities and rates: the largest component of the difference over the largest
component of the reference, but at least 1 (m, m/s, rad/s). Orientation, rotor state, rotation matrix, actions: the
largest component of the difference. Reward: the difference over the reference's magnitude, but at least 1.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import jax
import numpy as np

from raptor_jax import simulator
from raptor_jax.dynamics.parameters import Drone, hovering_throttle, stack, torque_to_inertia, weight
from raptor_jax.simulator import State, Target
from tests.simulator import reference_numpy
from tests.simulator.drones import on_device, rounded, take

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

ROUNDING = 2.0**-24
"""The largest relative error of rounding to float32."""

vector_step = jax.jit(jax.vmap(simulator.step))
vector_reward = jax.jit(jax.vmap(simulator.reward))
vector_observe = jax.jit(jax.vmap(simulator.observe))
vector_terminated = jax.jit(jax.vmap(simulator.terminated))


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


class Outcome(NamedTuple):
    """What a simulator makes of transitions; the reward and its termination take `next_state` as given."""

    next_state: State
    reward: np.ndarray
    terminated: np.ndarray
    observation: np.ndarray


class Flights(NamedTuple):
    """Open-loop flights: B drones, where they start, and T actions for each."""

    drones: list[Drone]
    start: State
    actions: np.ndarray
    """[T, B, 4]"""


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


def double_precision() -> AbstractContextManager:
    """Returns a context in which JAX computes in float64; its name depends on the version of JAX."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    from jax.experimental import enable_x64

    return enable_x64()


def ours(transitions: Transitions, next_state: State) -> Outcome:
    """Returns what `raptor_jax.simulator` makes of transitions, in the precision in force, without noise."""
    drone, state, action = on_device((transitions.stacked(), transitions.state, transitions.action))
    keys = jax.random.split(jax.random.key(0), len(action))
    given_next = on_device(next_state)
    outcome = Outcome(
        next_state=vector_step(drone, state, action, keys),
        reward=vector_reward(drone, state, action, given_next),
        terminated=vector_terminated(drone, given_next),
        observation=vector_observe(drone, state, keys),
    )
    return jax.tree.map(np.asarray, outcome)


def numpy_reference(transitions: Transitions, next_state: State) -> Outcome:
    """Returns what the float64 reference makes of transitions."""
    drone, state, action = transitions.stacked(), transitions.state, transitions.action
    return Outcome(
        next_state=reference_numpy.step(drone, state, action),
        reward=reference_numpy.reward(drone, state, action, next_state),
        terminated=reference_numpy.terminated(drone, next_state),
        observation=reference_numpy.observe(drone, state),
    )


def draw_flights(drones: Sequence[Drone], steps: int, seed: int) -> Flights:
    """Draws flights around hover, in turn: held throttle, white noise, a tone for each rotor, and random steps.

    They start as hover on the origin does, but with an external force and torque, a small rate and the rotors at
    the hovering throttle. Nothing closes a loop, so most of them drift, tilt and end up tumbling.
    """
    random = np.random.default_rng(seed)
    count = len(drones)
    dynamics = stack(drones).dynamics
    throttle = hovering_throttle(dynamics)
    time = 0.01 * np.arange(steps)[:, None, None]
    tone = np.sin(2 * np.pi * random.uniform(0.5, 5, (count, 4)) * time + random.uniform(0, 6, (count, 4)))
    held_steps = np.repeat(random.normal(0, 1, (-(-steps // 25), count, 4)), 25, axis=0)[:steps]
    shapes = np.stack([0 * tone, 0.03 * random.normal(0, 1, tone.shape), 0.05 * tone, 0.02 * held_steps])
    departures = shapes[np.arange(count) % len(shapes), :, np.arange(count)].swapaxes(0, 1)
    low, high = dynamics.action_limit.min, dynamics.action_limit.max
    zero = np.zeros((count, 3))
    start = State(
        position=zero,
        orientation=np.tile([1.0, 0, 0, 0], (count, 1)),
        linear_velocity=zero,
        angular_velocity=random.normal(0, 0.05, (count, 3)),
        rotor_state=np.tile((low + throttle * (high - low))[:, None], 4),
        force=random.normal(0, 0.05, (count, 3)) * weight(dynamics)[:, None],
        torque=random.normal(0, 1e-4, (count, 3)) * (torque_to_inertia(dynamics) * dynamics.J[:, 0, 0])[:, None],
        last_action=np.zeros((count, 4)),
        observed_action=np.zeros((count, 4)),
        target=Target(np.zeros(count, bool), zero, zero, zero, zero),
    )
    actions = 2 * throttle[:, None] - 1 + departures
    return Flights([rounded(drone) for drone in drones], rounded(start), rounded(actions))


def fly_ours(flights: Flights) -> State:
    """Returns the states [T, B] of flights in `raptor_jax.simulator`, in the precision in force."""
    return jax.tree.map(np.asarray, _scan(*on_device((stack(flights.drones), flights.start, flights.actions))))


def fly_numpy(flights: Flights) -> State:
    """Returns the states [T, B] of flights in the float64 reference."""
    drone, state, states = stack(flights.drones), flights.start, []
    for action in flights.actions:
        state = reference_numpy.step(drone, state, action)
        states.append(state)
    return over_time(states)


def rounding_spread(flights: Flights, exact: State, copies: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns how far apart rounding to float32 can drive flights: [T, B] for each group of the state.

    Backward error analysis by experiment. A float32 run is the exact run of a neighbouring drone, whose parameters
    are off by a rounding error each, with a state that is rounded after every step. So the reference flies copies in
    float64 with parameters and states multiplied by 1 + u, |u| <= 2^-24; the spread is the largest distance of a copy
    from the exact flight up to then. One step rounds some twenty times where this does once, and two float32
    programs round each on their own: a few times the spread between them is rounding, more is a different simulator.
    """
    random = np.random.default_rng(seed)

    def shaken(leaf: np.ndarray) -> np.ndarray:
        return leaf if leaf.dtype == bool else leaf * (1 + ROUNDING * random.uniform(-1, 1, leaf.shape))

    rows = np.tile(np.arange(len(flights.drones)), copies)
    drone = jax.tree.map(shaken, take(stack(flights.drones), rows))
    state, spreads = take(flights.start, rows), []
    for time, action in enumerate(flights.actions):
        state = reference_numpy.step(drone, jax.tree.map(shaken, state), action[rows])
        distances = differences(state, take(jax.tree.map(lambda leaf, now=time: leaf[now], exact), rows))
        spreads.append({group: value.reshape(copies, -1).max(axis=0) for group, value in distances.items()})
    return {group: np.maximum.accumulate([spread[group] for spread in spreads]) for group in MOTION}


def differences(a: State, b: State, groups: Sequence[str] = MOTION) -> dict[str, np.ndarray]:
    """Returns the difference of each group of two states, [...] each, measured as the module says."""
    return {group: _difference(getattr(a, group), getattr(b, group)) for group in groups}


def observation_differences(a: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the difference of each group of two observations."""
    return {group: _difference(a[..., columns], b[..., columns]) for group, columns in OBSERVATION_GROUPS.items()}


def reward_difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the differences [...] of rewards."""
    return _difference(a[..., None], b[..., None])


@jax.jit
def _scan(drone: Drone, start: State, actions: jax.Array) -> State:
    def one(state: State, action: jax.Array) -> tuple[State, State]:
        keys = jax.random.split(jax.random.key(0), action.shape[0])
        state = jax.vmap(simulator.step)(drone, state, action, keys)
        return state, state

    return jax.lax.scan(one, start, actions)[1]


def over_time(states: Sequence[State]) -> State:
    """Returns the states [B] of each step as one tree [T, B]."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *states)


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.max(np.abs(a - b), axis=-1) / np.maximum(np.max(np.abs(b), axis=-1), 1.0)
