"""The simulator beside the original one: every comparison that the tests demand and that `docs/parity.md` reports.

How a difference is measured: positions, velocities, rates, forces and torques by the largest component of the
difference over the largest component of the original's vector, taken as at least 1 (m, m/s, rad/s, N, N m);
orientations, rotor states and actions by the largest component of the difference; rewards relative to the original's,
taken as at least 1. l2f computes in float32, whose rounding is 6e-8.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np
from scipy import stats

from raptor_jax import simulator
from raptor_jax.dynamics.parameters import Drone, stack
from raptor_jax.simulator import State
from tests.simulator import comparison
from tests.simulator.comparison import Flights, Outcome, Transitions
from tests.simulator.drones import crooked, on_device, replaced, rounded
from tests.simulator.l2f_oracle import COMMON_OBSERVATION, Oracle

STATE_BOUND = 5e-6
OBSERVATION_BOUND = 2e-7
REWARD_BOUND = 1e-5
FLIGHT_BOUND = 5.0
LEAST_P_VALUE = 1e-3

STEPS = 500
SAMPLES = 8192

_CARRIED = ("force", "torque", "last_action", "observed_action")


@dataclasses.dataclass(frozen=True)
class Row:
    """One comparison; `worst` may be at most `bound`, or at least, where `at_least` says so."""

    what: str
    cases: str
    measure: str
    worst: float
    bound: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the bound is kept; false for NaN."""
        return self.worst >= self.bound if self.at_least else self.worst <= self.bound


def l2f_outcome(transitions: Transitions, oracle: Oracle | None = None) -> Outcome:
    """Returns what l2f makes of transitions."""
    oracle = oracle or Oracle(transitions.listed())
    oracle.write(transitions.state)
    next_state = oracle.step(transitions.action)
    return Outcome(next_state, oracle.reward(transitions.action), oracle.terminated(), oracle.observe())


def fly_l2f(flights: Flights) -> State:
    """Returns the states [T, B] of flights in l2f."""
    oracle = Oracle(flights.drones)
    oracle.write(flights.start)
    states = []
    for action in flights.actions:
        states.append(oracle.step(action))
        oracle.advance()
    return comparison.over_time(states)


def one_step(drones: Sequence[Drone], per_drone: int = 30, seed: int = 0) -> list[Row]:
    """Compares one step, reward, termination and observation, for each drone and a crooked copy of it."""
    random = np.random.default_rng(seed)
    drones = [*drones, *(crooked(drone, random) for drone in drones)]
    transitions = comparison.draw_transitions(drones, per_drone, seed)
    theirs = l2f_outcome(transitions)
    ours = comparison.ours(transitions, theirs.next_state)
    cases = f"{len(transitions.action)} states, {len(drones)} drones"
    moved = comparison.differences(ours.next_state, theirs.next_state)
    carried = comparison.differences(ours.next_state, theirs.next_state, _CARRIED)
    seen = comparison.observation_differences(ours.observation, theirs.observation)
    rewards = comparison.reward_difference(ours.reward, theirs.reward)
    disagreements = np.sum(ours.terminated != theirs.terminated)
    share = f"{cases}, {theirs.terminated.mean():.0%} of them ending"
    return [
        *(Row(f"step: {group}", cases, "relative", value.max(), STATE_BOUND) for group, value in moved.items()),
        Row("step: force, torque, last actions", cases, "relative", _worst(carried), 0.0),
        Row(f"observation, entries 0 to {COMMON_OBSERVATION - 1}", cases, "relative", _worst(seen), OBSERVATION_BOUND),
        Row("reward", cases, "relative", rewards.max(), REWARD_BOUND),
        Row("termination", share, "disagreements", float(disagreements), 0.0),
    ]


def trajectories(drones: Sequence[Drone], steps: int = STEPS, seed: int = 0) -> list[Row]:
    """Compares open-loop flights, in units of what rounding alone can do (`comparison.rounding_spread`)."""
    flights = comparison.draw_flights(drones, steps, seed)
    exact = comparison.fly_numpy(flights)
    spread = comparison.rounding_spread(flights, exact)
    apart = comparison.differences(comparison.fly_ours(flights), fly_l2f(flights))
    cases = f"{len(drones)} flights of {steps} steps"
    return [
        Row(
            f"flight: {group}",
            f"{cases}, at most {distance.max():.1e} apart",
            "difference / spread by rounding",
            in_spreads(distance, spread[group]).max(),
            FLIGHT_BOUND,
        )
        for group, distance in apart.items()
    ]


def in_spreads(distance: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Returns distances in units of the spread by rounding, which is taken as at least a few roundings of 1."""
    return distance / (spread + 4 * comparison.ROUNDING)


def initial_states(drone: Drone) -> list[Row]:
    """Compares the laws of initial states by two-sample Kolmogorov-Smirnov tests, disturbances included.

    l2f draws the angle from U(0, 1) whatever `max_angle` is, which is our law for a `max_angle` of 1.
    """
    drone = replaced(
        drone,
        mdp__init__guidance=0.2,
        mdp__init__max_angle=1.0,
        disturbances__random_force__mean=0.1,
        disturbances__random_force__std=0.3,
        disturbances__random_torque__mean=0.01,
        disturbances__random_torque__std=0.02,
    )
    rows = []
    for name, init in {
        "relative rotor range": {"relative_rpm": True, "min_rpm": -0.8, "max_rpm": 0.3},
        "absolute rotor range": {"relative_rpm": False, "min_rpm": 0.2, "max_rpm": 0.7},
        "absolute range below 0": {"relative_rpm": False, "min_rpm": -1, "max_rpm": -1},
        "absolute range above the limits": {"relative_rpm": False, "min_rpm": 0.9, "max_rpm": 2},
    }.items():
        one = replaced(drone, **{f"mdp__init__{key}": value for key, value in init.items()})
        theirs = Oracle([one] * SAMPLES).reset()
        keys = jax.random.split(jax.random.key(0), SAMPLES)
        ours = jax.tree.map(np.asarray, _reset_many(on_device(one), keys))
        least = min(_p_values(_initial_features(ours), _initial_features(theirs)).values())
        rows.append(_law(f"initial states, {name}", least))
    return rows


def noise(drone: Drone) -> list[Row]:
    """Compares the laws of action noise and observation noise."""
    drone = replaced(
        drone,
        mdp__action_noise__normalized_rpm=0.2,
        mdp__observation_noise__position=0.1,
        mdp__observation_noise__orientation=0.2,
        mdp__observation_noise__linear_velocity=0.3,
        mdp__observation_noise__angular_velocity=0.4,
    )
    base = comparison.draw_transitions([drone], 1, 0)
    many = Transitions(base.drones, *jax.tree.map(lambda leaf: np.repeat(leaf, SAMPLES, axis=0), base[1:]))
    # Near +1 part of the noise is cut off, near 0 none of it.
    many = many._replace(action=np.broadcast_to([-0.5, 0.0, 0.3, 0.9], (SAMPLES, 4)))
    theirs = l2f_outcome(many)
    ours = noisy_outcome(many)
    stepped = _p_values({"rotor": ours[0].rotor_state}, {"rotor": theirs.next_state.rotor_state})
    seen = _p_values({"seen": ours[1][:, :18]}, {"seen": theirs.observation[:, :18]})
    return [_law("action noise", stepped["rotor"]), _law("observation noise", seen["seen"])]


def noisy_outcome(transitions: Transitions, seed: int = 1) -> tuple[State, np.ndarray]:
    """Returns our next states and observations, with a random key for each row."""
    drone, state, action = on_device((transitions.stacked(), transitions.state, transitions.action))
    step_key, observation_key = jax.random.split(jax.random.key(seed))
    next_state = comparison.vector_step(drone, state, action, jax.random.split(step_key, len(action)))
    observation = comparison.vector_observe(drone, state, jax.random.split(observation_key, len(action)))
    return jax.tree.map(np.asarray, (next_state, observation))


def float64(drones: Sequence[Drone], per_drone: int = 10, seed: int = 2) -> list[Row]:
    """Compares the simulator in float64 with the NumPy reference: formulas, not rounding."""
    random = np.random.default_rng(seed)
    every = [*drones, *(crooked(drone, random) for drone in drones)]
    transitions = comparison.draw_transitions(every, per_drone, seed)
    flights = comparison.draw_flights(drones, STEPS, seed)
    next_state = comparison.numpy_reference(transitions, transitions.state).next_state
    reference = comparison.numpy_reference(transitions, next_state)
    with comparison.double_precision():
        ours, flown = comparison.ours(transitions, next_state), comparison.fly_ours(flights)
    cases = f"{len(transitions.action)} states, {len(every)} drones"
    moved = comparison.differences(ours.next_state, reference.next_state)
    apart = comparison.differences(flown, comparison.fly_numpy(flights))
    return [
        Row("float64 step", cases, "relative", _worst(moved), 1e-14),
        Row("float64 observation", cases, "absolute", np.abs(ours.observation - reference.observation).max(), 1e-14),
        Row("float64 reward", cases, "relative", comparison.reward_difference(ours.reward, reference.reward).max(), 1e-12),
        Row("float64 flight", f"{len(drones)} flights of {STEPS} steps", "relative", _worst(apart), 1e-11),
    ]


_reset_many = jax.jit(jax.vmap(simulator.reset, in_axes=(None, 0)))


def _initial_features(state: State) -> dict[str, np.ndarray]:
    """Returns what of initial states has a law of its own; hover starts are told apart by their position of 0."""
    hover = ~np.any(state.position != 0, axis=1)
    away = ~hover
    axis = state.orientation[away, 1:]
    half_sine = np.linalg.norm(axis, axis=1)
    return {
        "hover": hover[:, None],
        "position": state.position[away],
        "axis": axis / half_sine[:, None],
        "angle": 2 * np.arctan2(half_sine, state.orientation[away, 0])[:, None],
        "linear_velocity": state.linear_velocity[away],
        "angular_velocity": state.angular_velocity[away],
        "rotor_state": state.rotor_state,
        "force": state.force,
        "torque": state.torque,
        "force in hover": state.force[hover],
        "rotor_state in hover": state.rotor_state[hover],
        "hover orientation": state.orientation[hover],
        "observed action": state.observed_action,
        "last action": state.last_action,
    }


def _p_values(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict[str, float]:
    """Returns for each feature the least p-value of its columns."""
    return {
        name: min(stats.ks_2samp(ours[name][:, i], theirs[name][:, i], method="asymp").pvalue for i in range(ours[name].shape[1]))
        for name in ours
    }


def _law(what: str, p_value: float) -> Row:
    return Row(what, f"{SAMPLES} draws each", "least p of Kolmogorov-Smirnov tests", p_value, LEAST_P_VALUE, at_least=True)


def _worst(differences: dict[str, np.ndarray]) -> float:
    return float(max(value.max() for value in differences.values()))


def every_row(drones: Sequence[Drone], report: Callable[[Row], None]) -> None:
    """Makes all comparisons and reports each row as it is known."""
    for part in (one_step(drones), trajectories(drones), initial_states(drones[0]), noise(drones[0]), float64(drones)):
        for row in part:
            report(row)
