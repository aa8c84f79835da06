"""The conditions that every drone must satisfy: ranges of fields, and relations between them."""

from collections.abc import Iterator, Mapping

import numpy as np

from raptor_jax.drones.fields import CORRECT, OMIT, Leaf, derived_names, leaves, wrong_value
from raptor_jax.drones.parameters import Drone, Dynamics, rotor_thrust, thrust_to_weight, weight

_UNIT_TOLERANCE = 1e-4
_INVERSE_TOLERANCE = 1e-4
_SYMMETRY_TOLERANCE = 1e-6
_MIXTURE_TOLERANCE = 1e-6

Violation = tuple[str, object, str, str]
"""A field, its value, the reason why it is refused, and how to fix it."""


def check_drone(drone: Drone) -> None:
    """Checks every field and every relation of a complete drone.

    Raises:
        FieldError: the first that fails.
    """
    for violation in _violations(drone):
        raise wrong_value(*violation)


def check_thrust(dynamics: Dynamics) -> None:
    """Checks that the rotors can carry the weight and let the drone descend, so that a hovering throttle exists.

    Raises:
        FieldError: they cannot.
    """
    for violation in _thrust(dynamics):
        raise wrong_value(*violation)


def _violations(drone: Drone) -> Iterator[Violation]:
    """Yields the violated conditions; a condition is evaluated only if those before it hold."""
    fields = dict(leaves(drone))
    # These are checked after those that they may have been computed from, so that an error names the cause.
    derived = {name: fields.pop(name) for name in derived_names(Drone)}
    yield from _out_of_range(fields)
    yield from _body(drone.dynamics)
    yield from _thrust(drone.dynamics)
    yield from _out_of_range(derived)
    inertia, inverse = drone.dynamics.J, drone.dynamics.J_inv
    if np.abs(inertia @ inverse - np.eye(3)).max() > _INVERSE_TOLERANCE:
        yield "dynamics.J_inv", inverse, "should be the inverse of dynamics.J", OMIT
    init, mixture = drone.mdp.init, drone.trajectory.mixture
    if init.relative_rpm and not -1 <= init.min_rpm <= init.max_rpm <= 1:
        reason = f"and max_rpm {init.max_rpm} should be ordered and in [-1, 1], because relative_rpm is true"
        yield "mdp.init.min_rpm", init.min_rpm, reason, CORRECT
    if abs(np.sum(mixture) - 1) > _MIXTURE_TOLERANCE:
        yield "trajectory.mixture", mixture, "should sum to 1 (probabilities of hover and of Langevin)", CORRECT


def _out_of_range(fields: Mapping[str, Leaf]) -> Iterator[Violation]:
    for name, leaf in fields.items():
        if reason := leaf.specification.problem(leaf.value):
            yield name, leaf.value, reason, leaf.specification.fix


def _body(dynamics: Dynamics) -> Iterator[Violation]:
    limit = dynamics.action_limit
    if not limit.min < limit.max:
        yield "dynamics.action_limit.min", limit.min, f"should be below action_limit.max {limit.max}", CORRECT
    if not dynamics.gravity[2] < 0:
        yield "dynamics.gravity", dynamics.gravity, "should point down (m/s^2)", "write [0, 0, -9.81]"
    for name, directions in (
        ("dynamics.rotor_thrust_directions", dynamics.rotor_thrust_directions),
        ("dynamics.rotor_torque_directions", dynamics.rotor_torque_directions),
    ):
        if np.any(np.abs(np.linalg.norm(directions, axis=-1) - 1) > _UNIT_TOLERANCE):
            yield name, directions, "should be unit vectors", "divide each by its length"
    inertia = dynamics.J
    asymmetry = np.abs(inertia - inertia.T).max()
    if asymmetry > _SYMMETRY_TOLERANCE * np.abs(inertia).max() or np.min(np.linalg.eigvalsh(inertia)) <= 0:
        yield "dynamics.J", inertia, "should be symmetric and positive definite (kg m^2)", CORRECT


def _thrust(dynamics: Dynamics) -> Iterator[Violation]:
    name, coefficients = "dynamics.rotor_thrust_coefficients", dynamics.rotor_thrust_coefficients
    directions = dynamics.rotor_thrust_directions
    if np.any(directions[:, 2] <= 0):
        yield "dynamics.rotor_thrust_directions", directions, "should point up (z above 0)", CORRECT
    # The quotient of a very large thrust and a very small weight is infinite.
    with np.errstate(over="ignore"):
        ratio = float(thrust_to_weight(dynamics))
    at_rest = float(np.sum(rotor_thrust(dynamics, dynamics.action_limit.min)))
    if ratio < 1:
        reason = f"give a thrust-to-weight of {ratio:.4g}, which should be at least 1"
        yield name, coefficients, reason, "correct the coefficients or dynamics.mass"
    if at_rest >= weight(dynamics):
        reason = f"lift more than the weight at action_limit.min ({at_rest:.4g} N), so that the drone cannot descend"
        yield name, coefficients, reason, "lower the constant coefficients or action_limit.min"
