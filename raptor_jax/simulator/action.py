"""Actions in [-1, 1] and rotor states in the action limits."""

import jax

from raptor_jax.drones.parameters import ActionLimit


def to_rotor_state(limit: ActionLimit, action: jax.Array) -> jax.Array:
    """Returns the rotor state that an action in [-1, 1] asks for; -1 is `limit.min`, +1 is `limit.max`."""
    return limit.min + (action + 1) / 2 * (limit.max - limit.min)


def from_rotor_state(limit: ActionLimit, rotor_state: jax.Array) -> jax.Array:
    """Returns the action in [-1, 1] that asks for a rotor state."""
    return (rotor_state - limit.min) / (limit.max - limit.min) * 2 - 1
