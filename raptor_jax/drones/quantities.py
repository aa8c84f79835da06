"""The scalars that characterise a drone: names, units, and how each is computed from the dynamics."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from raptor_jax.drones import parameters
from raptor_jax.drones.parameters import Dynamics


class Parameter(NamedTuple):
    """A scalar of a drone: its unit, and its function of the dynamics (host side, any leading axes)."""

    unit: str
    of: Callable[[Dynamics], np.ndarray]


PARAMETERS = {
    "thrust_to_weight": Parameter("1", parameters.thrust_to_weight),
    "torque_to_inertia": Parameter("1/s^2", parameters.torque_to_inertia),
    "mass": Parameter("kg", lambda dynamics: dynamics.mass),
    "max_rotor_distance": Parameter("m", parameters.max_rotor_distance),
    "rotor_time_constant_rising": Parameter("s", lambda dynamics: dynamics.rotor_time_constants_rising.mean(axis=-1)),
    "rotor_time_constant_falling": Parameter("s", lambda dynamics: dynamics.rotor_time_constants_falling.mean(axis=-1)),
    "rotor_torque_constant": Parameter("m", lambda dynamics: dynamics.rotor_torque_constants.mean(axis=-1)),
}
"""By name; values of rotors are averaged."""
