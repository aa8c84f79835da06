"""Conversion between actions in [-1, 1] and rotor states within the action limits."""

import jax

from raptor_jax.drones.parameters import ActionLimit


def to_rotor_state(limit: ActionLimit, action: jax.Array) -> jax.Array:
    """Returns the rotor state of an action in [-1, 1]: -1 is `limit.min`, +1 is `limit.max`; any shape."""
    return limit.min + (action + 1) / 2 * (limit.max - limit.min)


def from_rotor_state(limit: ActionLimit, rotor_state: jax.Array) -> jax.Array:
    """Returns the action in [-1, 1] of a rotor state; the inverse of `to_rotor_state`."""
    return (rotor_state - limit.min) / (limit.max - limit.min) * 2 - 1
