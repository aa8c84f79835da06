"""Drones whose flights can be computed by hand, and the episodes that they fly."""

import numpy as np

from raptor_jax.drones.parameters import Drone
from validation.drones import calm

EPISODES = 3
STEPS = 50


def hovering_action(drone: Drone) -> float:
    """Returns the action of the hovering throttle."""
    return float(2 * drone.dynamics.hovering_throttle_relative - 1)


def hovering(drone: Drone) -> Drone:
    """Returns the drone starting in hover with its rotors at the hovering throttle."""
    action = hovering_action(drone)
    return calm(drone, mdp__init__min_rpm=action, mdp__init__max_rpm=action)


def falling(drone: Drone, limit: float) -> Drone:
    """Returns a drone without thrust in a box of this half width [m], and a reward of 1 a step that costs nothing."""
    costs = ("position", "orientation", "linear_velocity", "action", "d_action")
    return calm(
        drone,
        dynamics__rotor_thrust_coefficients=np.zeros((4, 3)),
        mdp__termination__position_threshold=limit,
        **{f"mdp__reward__{name}": 0.0 for name in costs},
    )
