"""Open-loop flights of many steps, and how far apart rounding alone can drive them."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from raptor_jax import simulator
from raptor_jax.drones.parameters import Drone, hovering_throttle, stack, torque_to_inertia, weight
from raptor_jax.simulator import State
from validation.drones import at_rest, on_device, rounded, take
from validation.parity import reference_numpy
from validation.parity.transitions import MOTION, differences

ROUNDING = 2.0**-24
"""The largest relative error of rounding to float32."""


class Flights(NamedTuple):
    """Open-loop flights: B drones, where they start, and T actions for each."""

    drones: list[Drone]
    start: State
    actions: np.ndarray
    """[T, B, 4]"""


def draw_flights(drones: Sequence[Drone], steps: int, seed: int) -> Flights:
    """Draws flights around hover, in turn: held throttle, white noise, a tone for each rotor, and random steps.

    They start as hover on the origin does, but with an external force and torque, a small rate and the rotors at
    the hovering throttle. Nothing closes a loop, so they drift and tilt.
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
    start = at_rest(
        count,
        angular_velocity=random.normal(0, 0.05, (count, 3)),
        rotor_state=np.tile((low + throttle * (high - low))[:, None], 4),
        force=random.normal(0, 0.05, (count, 3)) * weight(dynamics)[:, None],
        torque=random.normal(0, 1e-4, (count, 3)) * (torque_to_inertia(dynamics) * dynamics.J[:, 0, 0])[:, None],
    )
    actions = 2 * throttle[:, None] - 1 + departures
    return Flights([rounded(drone) for drone in drones], rounded(start), rounded(actions))


def fly_ours(flights: Flights) -> State:
    """Returns the states [T, B] of flights in `raptor_jax.simulator`, in the precision in force."""
    steps, count = flights.actions.shape[:2]
    # One shape, and so one compilation, for every test: the last drone and the last action fill it up.
    rows, times = np.minimum(np.arange(max(count, 128)), count - 1), np.minimum(np.arange(max(steps, 500)), steps - 1)
    drone, start = take((stack(flights.drones), flights.start), rows)
    states = _scan(*on_device((drone, start, flights.actions[np.ix_(times, rows)])))
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:steps, :count], states)


def fly_numpy(flights: Flights) -> State:
    """Returns the states [T, B] of flights in the float64 reference."""
    drone, state, states = stack(flights.drones), flights.start, []
    for action in flights.actions:
        state = reference_numpy.step(drone, state, action)
        states.append(state)
    return over_time(states)


def rounding_spread(flights: Flights, exact: State, copies: int = 24, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns how far apart rounding to float32 can drive flights: [T, B] for each group of the state.

    Backward error analysis by experiment. A float32 run is the exact run of a neighbouring drone, whose parameters
    are off by a rounding error each, with a state that is rounded after every step. So the reference flies copies in
    float64 with parameters and states multiplied by 1 + u, |u| <= 2^-24; the spread is the largest distance of a copy
    from the exact flight up to then. Fewer copies than two dozen underestimate it. One step rounds some twenty times
    where this does once, and two float32 programs round each on their own: a few times the spread between them is
    rounding, more is a different simulator.
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


def over_time(states: Sequence[State]) -> State:
    """Returns the states [B] of each step as one tree [T, B]."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *states)


@jax.jit
def _scan(drone: Drone, start: State, actions: jax.Array) -> State:
    def one(state: State, action: jax.Array) -> tuple[State, State]:
        state = jax.vmap(simulator.step, in_axes=(0, 0, 0, None))(drone, state, action, simulator.Noise())
        return state, state

    return jax.lax.scan(one, start, actions)[1]
