"""A plausibility check of a drone: derived quantities, compared with the default distribution."""

from collections.abc import Iterator
from typing import NamedTuple, TypedDict

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from raptor_jax.config import SamplingConfig
from raptor_jax.drones import parameters, platforms
from raptor_jax.drones.parameters import Drone, Dynamics
from raptor_jax.drones.quantities import PARAMETERS
from raptor_jax.utils.console import say

_ORDER = ("front right", "back right", "back left", "front left")
_LEAST_YAW_ACCELERATION = 1.0
"""rad/s^2; the smallest of the first 1000 drones of the default distribution is 1.25."""
_GYRATION = (0.3, 1.2)
"""Usual radius of gyration about the vertical axis divided by the rotor distance; the platforms have 0.49 to 0.76."""
_STRANGE_SIZE = 3.0
"""Largest usual factor between the rotor distance and the default distribution; of the platforms, fs has 1.5."""
_STABLE_STEPS = 2.785
"""Largest time step, in time constants, at which a fourth-order Runge-Kutta method of a decay is stable."""


class Quantity(TypedDict):
    """A derived quantity, and its range in the default distribution; None where it has none."""

    name: str
    value: float
    unit: str
    least: float | None
    most: float | None


class Rotor(TypedDict):
    """One rotor: its place in words, and its direction of rotation seen from above."""

    place: str
    position: list[float]
    """[3] m."""
    turns: str
    hover_thrust: float | None
    """N; None if level hover is impossible."""
    least_thrust: float
    """N, at the lower action limit."""
    most_thrust: float
    """N, at the upper action limit."""


class Sheet(TypedDict):
    """The plausibility check of a drone; `warnings` are sentences about implausible or unusual values."""

    quantities: list[Quantity]
    rotors: list[Rotor]
    warnings: list[str]


class _Hover(NamedTuple):
    """Level hover without rotation."""

    thrust: np.ndarray
    """[4] N of each rotor, possibly outside of its limits."""
    yaw_acceleration: float
    """rad/s^2, the largest at constant altitude."""


def describe_sheet(drone: Drone) -> Sheet:
    """Returns derived quantities of a drone, its rotors, and warnings."""
    dynamics = drone.dynamics
    # Very small or large numbers in a file can make derived quantities infinite or NaN.
    with np.errstate(all="ignore"):
        hover = _hover(dynamics)
        quantities = _quantities(dynamics, hover)
        return {
            "quantities": quantities,
            "rotors": _rotors(dynamics, hover),
            "warnings": [*_of_flight(dynamics, hover), *_of_rotors(drone), *_of_the_body(dynamics)],
        }


def show_sheet(sheet: Sheet, console: Console) -> None:
    """Prints the result of `describe_sheet`, with the warnings last."""
    table = Table("derived quantity", "value", "unit", "default distribution", "")
    for quantity in sheet["quantities"]:
        least, most = quantity["least"], quantity["most"]
        usual, place = "-", "-"
        if least is not None and most is not None:
            usual = f"{least:.4g} to {most:.4g}"
            place = "inside" if least <= quantity["value"] <= most else "[yellow]outside[/]"
        table.add_row(quantity["name"], f"{quantity['value']:.4g}", quantity["unit"], usual, place)
    console.print(table)
    table = Table(
        "rotor", escape("position [m]"), "rotation from above", "thrust in hover [N]", "thrust at the limits [N]"
    )
    for rotor in sheet["rotors"]:
        position = ", ".join(f"{number:.4g}" for number in rotor["position"])
        hover = "-" if rotor["hover_thrust"] is None else f"{rotor['hover_thrust']:.4g}"
        limits = f"{rotor['least_thrust']:.4g} to {rotor['most_thrust']:.4g}"
        table.add_row(rotor["place"], position, rotor["turns"], hover, limits)
    console.print(table)
    for warning in sheet["warnings"]:
        say(console, f"warning: {warning}")
    if not sheet["warnings"]:
        say(console, "no unusual values")


def _quantities(dynamics: Dynamics, hover: _Hover | None) -> list[Quantity]:
    sampling = SamplingConfig()
    ranges = sampling.ranges | {"max_rotor_distance": _usual_distance(dynamics, sampling)}
    found = [
        _quantity(name, parameter.of(dynamics), parameter.unit, *ranges[name]) for name, parameter in PARAMETERS.items()
    ]
    found.append(_quantity("hovering_throttle", parameters.hovering_throttle(dynamics), "1"))
    if hover is not None:
        found.append(_quantity("yaw_acceleration", hover.yaw_acceleration, "rad/s^2"))
    return found


def _quantity(
    name: str, value: np.ndarray | float, unit: str, least: float | None = None, most: float | None = None
) -> Quantity:
    return {"name": name, "value": float(value), "unit": unit, "least": least, "most": most}


def _usual_distance(dynamics: Dynamics, sampling: SamplingConfig) -> tuple[float, float]:
    """Returns the range of the rotor distance that the sampler draws for this mass, in m."""
    nominal = platforms.crazyflie()
    distance = parameters.max_rotor_distance(nominal) * np.cbrt(dynamics.mass / nominal.mass)
    factor = 1 + sampling.mass_size_deviation
    return float(distance / factor), float(distance * factor)


def _hover(dynamics: Dynamics) -> _Hover | None:
    """Returns level hover; None if the rotors cannot control thrust and the three torques independently."""
    directions = dynamics.rotor_thrust_directions
    reaction = dynamics.rotor_torque_constants[:, None] * dynamics.rotor_torque_directions
    torques = np.cross(dynamics.rotor_positions, directions) + reaction
    # [thrust and three torques, rotors], per N; torques are divided by the rotor distance for similar magnitudes.
    distance = float(parameters.max_rotor_distance(dynamics)) or 1.0
    effect = np.vstack([directions[:, 2], torques.T / distance])
    if np.linalg.matrix_rank(effect, tol=1e-4) < len(_ORDER):
        return None
    thrust = np.linalg.solve(effect, [float(parameters.weight(dynamics)), 0, 0, 0])
    least, most = _thrust_limits(dynamics)
    spare = max(0.0, float(np.minimum(thrust - least, most - thrust).min()))
    return _Hover(thrust, float(np.abs(torques[:, 2]).sum() * spare / dynamics.J[2, 2]))


def _thrust_limits(dynamics: Dynamics) -> tuple[np.ndarray, np.ndarray]:
    """Returns the thrust of each rotor at the action limits, [4] and [4] N."""
    limit = dynamics.action_limit
    return parameters.rotor_thrust(dynamics, limit.min), parameters.rotor_thrust(dynamics, limit.max)


def _rotors(dynamics: Dynamics, hover: _Hover | None) -> list[Rotor]:
    least, most = _thrust_limits(dynamics)
    return [
        {
            "place": place,
            "position": dynamics.rotor_positions[rotor].tolist(),
            # The reaction torque on the body opposes the rotation of the propeller.
            "turns": "clockwise" if dynamics.rotor_torque_directions[rotor, 2] > 0 else "counter-clockwise",
            "hover_thrust": None if hover is None else float(hover.thrust[rotor]),
            "least_thrust": float(least[rotor]),
            "most_thrust": float(most[rotor]),
        }
        for rotor, place in enumerate(_places(dynamics))
    ]


def _places(dynamics: Dynamics) -> list[str]:
    """Returns the place of each rotor in words."""
    along, across = {1: "front", -1: "back"}, {1: "left", -1: "right"}
    signs = np.sign(dynamics.rotor_positions[:, :2])
    return [f"{along.get(x, '')} {across.get(y, '')}".strip() or "centre" for x, y in signs.tolist()]


def _of_flight(dynamics: Dynamics, hover: _Hover | None) -> Iterator[str]:
    sampling = SamplingConfig()
    ratio = float(parameters.thrust_to_weight(dynamics))
    if ratio < sampling.thrust_to_weight_min:
        yield f"thrust-to-weight {ratio:.3f}: little thrust remains for turning, climbing and wind"
    for upper, constants in (
        (sampling.rotor_time_constant_rising_max, dynamics.rotor_time_constants_rising),
        (sampling.rotor_time_constant_falling_max, dynamics.rotor_time_constants_falling),
    ):
        slowest = constants.max()
        if slowest > upper:
            yield f"a time constant of {slowest:.3g} s is above {upper:g} s, the largest in the default distribution"
    if hover is None:
        yield "the rotors cannot control each axis alone; check rotor_positions and rotor_torque_constants"
        return
    least, most = _thrust_limits(dynamics)
    if np.any((hover.thrust < least) | (hover.thrust > most)):
        yield "the drone cannot hover level without rotating: a rotor would need a thrust outside of its limits"
    elif hover.yaw_acceleration < _LEAST_YAW_ACCELERATION:
        yield f"a yaw acceleration of {hover.yaw_acceleration:.2g} rad/s^2 at most: yaw control is very weak"


def _of_rotors(drone: Drone) -> Iterator[str]:
    dynamics = drone.dynamics
    if tuple(_places(dynamics)) != _ORDER:
        order = ", ".join(_ORDER)
        yield f"rotor_positions: the order is not L2F's ({order}); the teacher's actions have the order of the file"
    limit = dynamics.action_limit
    linear, quadratic = dynamics.rotor_thrust_coefficients[:, 1], dynamics.rotor_thrust_coefficients[:, 2]
    if np.any(np.minimum(linear + 2 * quadratic * limit.min, linear + 2 * quadratic * limit.max) < 0):
        yield "rotor_thrust_coefficients: the thrust decreases with the throttle somewhere between the action limits"
    lowest = _thrust_limits(dynamics)[0].min()
    if lowest < 0:
        yield f"rotor_thrust_coefficients: a rotor pushes down with {-lowest:.3g} N at the lowest throttle"
    fastest = min(dynamics.rotor_time_constants_rising.min(), dynamics.rotor_time_constants_falling.min())
    shortest = float(drone.integration.dt) / _STABLE_STEPS
    if fastest < shortest:
        yield f"a rotor time constant of {fastest:.2g} s makes the simulation unstable; use at least {shortest:.2g} s"


def _of_the_body(dynamics: Dynamics) -> Iterator[str]:
    moments = np.sort(np.linalg.eigvalsh(dynamics.J))
    if moments[2] > moments[0] + moments[1]:
        yield "J: physically impossible, because the largest moment exceeds the sum of the other two"
    distance = float(parameters.max_rotor_distance(dynamics))
    least, most = _usual_distance(dynamics, SamplingConfig())
    if not least / _STRANGE_SIZE <= distance <= most * _STRANGE_SIZE:
        yield (
            f"rotor_positions: {distance:.3g} m from the centre of mass, but {least:.3g} to {most:.3g} m is usual for"
            " this mass; check that they are in m"
        )
    gyration = float(np.sqrt(dynamics.J[2, 2] / dynamics.mass))
    if not _GYRATION[0] * distance <= gyration <= _GYRATION[1] * distance:
        yield (
            f"J: a radius of gyration of {gyration:.3g} m about the vertical axis does not fit rotors at"
            f" {distance:.3g} m; check that it is in kg m^2"
        )
