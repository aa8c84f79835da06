"""Real quadrotors that others are made from."""

import numpy as np

from raptor_jax.dynamics.parameters import ActionLimit, Dynamics

_ARM = 0.028  # m
_J_DIAGONAL = np.array([9.4165567291304065e-06, 9.644051701582312e-06, 1.7459517322532851e-05])  # kg m^2


def crazyflie() -> Dynamics:
    """Returns the Crazyflie 2.1 with the optical flow and SD card decks, the nominal drone of the sampler.

    Source: L2F `parameters/dynamics/crazyflie.h`; the hovering throttle is the one given there.
    """
    return Dynamics(
        rotor_positions=np.array([[_ARM, -_ARM, 0.0], [-_ARM, -_ARM, 0.0], [-_ARM, _ARM, 0.0], [_ARM, _ARM, 0.0]]),
        rotor_thrust_directions=np.tile([0.0, 0.0, 1.0], (4, 1)),
        rotor_torque_directions=np.array([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0], [0.0, 0.0, 1.0]]),
        rotor_thrust_coefficients=np.tile([0.00352526, 0.01437313, 0.09223048], (4, 1)),
        rotor_torque_constants=np.full(4, 4.665e-3),
        rotor_time_constants_rising=np.full(4, 0.05545454545454546),
        rotor_time_constants_falling=np.full(4, 0.24939393939393945),
        mass=np.array(0.0306),
        gravity=np.array([0.0, 0.0, -9.81]),
        J=np.diag(_J_DIAGONAL),
        J_inv=np.diag(1 / _J_DIAGONAL),
        hovering_throttle_relative=np.array(0.72613897215085532),
        action_limit=ActionLimit(min=np.array(0.0), max=np.array(1.0)),
    )
