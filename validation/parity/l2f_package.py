"""The simulator beside the original one: every comparison that the tests demand and that `docs/parity.md` reports."""

from collections.abc import Callable, Sequence

import jax
import numpy as np
from scipy import stats

from raptor_jax.drones.parameters import Drone
from raptor_jax.evaluation.l2f_simulator import L2FSimulator
from raptor_jax.simulator import State
from validation.drones import crooked, replaced
from validation.parity import comparison, flights, transitions
from validation.parity.comparison import STEPS, Row, float64
from validation.parity.flights import Flights
from validation.parity.transitions import Outcome, Transitions

LEAST_P_VALUE = 1e-3
SAMPLES = 8192
NOISE_SEEDS = 8
"""Of ours; each gives as many draws of noise."""


def l2f_outcome(starts: Transitions) -> Outcome:
    """Returns what l2f makes of transitions."""
    oracle = L2FSimulator(starts.listed())
    oracle.write(starts.state)
    next_state = oracle.step(starts.action)
    return Outcome(next_state, oracle.reward(starts.action), oracle.terminated(), oracle.observe())


def fly_l2f(open_loop: Flights) -> State:
    """Returns the states [T, B] of flights in l2f."""
    oracle = L2FSimulator(open_loop.drones)
    oracle.write(open_loop.start)
    states = []
    for action in open_loop.actions:
        states.append(oracle.step(action))
        oracle.advance()
    return flights.over_time(states)


def one_step(drones: Sequence[Drone], per_drone: int = 30, seed: int = 0) -> list[Row]:
    """Compares one step, reward, termination and observation, for each drone and a crooked copy of it."""
    random = np.random.default_rng(seed)
    drones = [*drones, *(crooked(drone, random) for drone in drones)]
    starts = transitions.draw_transitions(drones, per_drone, seed)
    theirs = l2f_outcome(starts)
    cases = f"{len(starts.action)} states, {len(drones)} drones"
    return comparison.one_step(transitions.ours(starts, theirs.next_state), theirs, cases)


def trajectories(drones: Sequence[Drone], steps: int = STEPS, seed: int = 0) -> list[Row]:
    """Compares open-loop flights."""
    open_loop = flights.draw_flights(drones, steps, seed)
    return comparison.trajectories(open_loop, flights.fly_ours(open_loop), fly_l2f(open_loop))


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
    ranges = {
        "relative rotor range": {"relative_rpm": True, "min_rpm": -0.8, "max_rpm": 0.3},
        "absolute rotor range": {"relative_rpm": False, "min_rpm": 0.2, "max_rpm": 0.7},
        "absolute range below 0": {"relative_rpm": False, "min_rpm": -1, "max_rpm": -1},
        "absolute range above the limits": {"relative_rpm": False, "min_rpm": 0.9, "max_rpm": 2},
    }
    for seed, (name, init) in enumerate(ranges.items()):
        one = replaced(drone, **{f"mdp__init__{key}": value for key, value in init.items()})
        theirs = L2FSimulator([one] * SAMPLES, seed * SAMPLES).reset()
        ours = transitions.draw_initial_states(one, SAMPLES, seed)
        rows.append(_law(f"initial states, {name}", _initial_features(ours), _initial_features(theirs)))
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
    # Near +1 part of the noise is cut off, near 0 none of it.
    many = transitions.draw_transitions([drone], 1, 0).repeated(SAMPLES)
    many = many._replace(action=np.broadcast_to([-0.5, 0.0, 0.3, 0.9], (SAMPLES, 4)))
    theirs = l2f_outcome(many)
    # Draws of several seeds, so that a comparison fails by chance for few of them only.
    ours = jax.tree.map(
        lambda *leaves: np.concatenate(leaves),
        *(transitions.ours(many, theirs.next_state, seed) for seed in range(NOISE_SEEDS)),
    )
    # Commands that are cut off at +1 all end in one rotor state. It may differ in its last digit between the two, which
    # a comparison of distributions would take for a gap of their whole share.
    ceiling = theirs.next_state.rotor_state.max(axis=0) - 1e-6
    rotors = [np.minimum(outcome.next_state.rotor_state, ceiling) for outcome in (ours, theirs)]
    seen = [outcome.observation[:, :18] for outcome in (ours, theirs)]
    return [_law(name, [a], [b]) for name, (a, b) in (("action noise", rotors), ("observation noise", seen))]


def _initial_features(state: State) -> list[np.ndarray]:
    """Returns what of initial states has a law of its own; hover starts are told apart by their position of 0."""
    hover = ~np.any(state.position != 0, axis=1)
    turn = state.orientation[~hover]
    half_sine = np.linalg.norm(turn[:, 1:], axis=1)
    axis, angle = turn[:, 1:] / half_sine[:, None], 2 * np.arctan2(half_sine, turn[:, 0])
    everywhere = state.rotor_state, state.force, state.torque, state.observed_action, state.last_action
    in_hover = state.orientation[hover], state.rotor_state[hover], state.force[hover]
    away = state.position[~hover], state.linear_velocity[~hover], state.angular_velocity[~hover]
    return [hover[:, None], axis, angle[:, None], *everywhere, *in_hover, *away]


def _law(what: str, ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> Row:
    """Compares samples [B, N] of each feature, column by column."""
    pairs = [pair for one, other in zip(ours, theirs, strict=True) for pair in zip(one.T, other.T, strict=True)]
    least = min(stats.ks_2samp(*pair, method="asymp").pvalue for pair in pairs)
    measure = "least p of two-sample Kolmogorov-Smirnov tests"
    return Row(what, f"{SAMPLES} draws each", measure, least, LEAST_P_VALUE, at_least=True)


def every_row(drones: Sequence[Drone], report: Callable[[Row], None]) -> None:
    """Makes all comparisons and reports each row as it is known."""
    for compare, what in (
        (one_step, drones), (trajectories, drones), (initial_states, drones[0]), (noise, drones[0]), (float64, drones),
    ):  # fmt: skip
        for row in compare(what):
            report(row)
