"""Recorded flights in a compact binary format, which `flight.js` reads: 18 bytes a step, 24 with a moving target.

The format is a sequence of little-endian arrays [length, columns]: position, int16 in units of `metres`; orientation,
int16 in units of 1/32767; motor commands, uint8 from 0 (lowest throttle) to 255; and for a moving target its position,
like that of the drone.
"""

import base64
from typing import NamedTuple, TypedDict

import numpy as np

from raptor_jax.evaluation import Flight, Rollout

_LARGEST = 32767


class Recording(NamedTuple):
    """The displayed part of an episode of each of T teachers: S steps, of which the first `length` were flown."""

    position: np.ndarray
    """[T, S, 3] m, world frame."""
    orientation: np.ndarray
    """[T, S, 4] unit quaternion (w, x, y, z), body to world."""
    target_position: np.ndarray
    """[T, S, 3] m, world frame."""
    action: np.ndarray
    """[T, S, 4] in [-1, 1], front right, back right, back left, front left."""
    length: np.ndarray
    """[T] steps."""
    total_reward: np.ndarray
    """[T] undiscounted."""
    terminated: np.ndarray
    """[T] bool, the drone violated a limit."""


# Written as a call, because "return" is a keyword.
PackedFlight = TypedDict(
    "PackedFlight",
    {"length": int, "metres": float, "moving": bool, "return": float, "terminated": bool, "data": str},
)
"""A packed flight as JSON: steps, units of positions [m], whether the target moves, and the arrays in base64."""


def recorded(flight: Flight, steps: Rollout) -> Recording:
    """Returns the displayed part of flights [T, ...] (host side)."""
    state, episode = steps.state, flight.episode
    shown = (state.position, state.orientation, state.target.position, steps.action)
    return Recording(*map(np.asarray, (*shown, episode.length, episode.total_reward, flight.terminated)))


def pack(recording: Recording) -> list[PackedFlight | None]:
    """Returns the flights of a recording, each as a JSON object; None where its numbers are not finite."""
    flights = (Recording(*of_one) for of_one in zip(*recording, strict=True))
    return [_pack_one(flight) if np.isfinite(flight.total_reward) else None for flight in flights]


def _pack_one(flight: Recording) -> PackedFlight:
    """Packs the flight of one teacher."""
    length = int(flight.length)
    position, target = np.asarray(flight.position[:length]), np.asarray(flight.target_position[:length])
    metres = max(float(np.abs([position, target]).max()), 1e-6) / _LARGEST
    motors = np.clip((np.asarray(flight.action[:length]) + 1) / 2, 0, 1)
    moving = bool(target.any())
    packed = [
        _int16(position / metres),
        _int16(np.asarray(flight.orientation[:length]) * _LARGEST),
        np.round(255 * motors).astype(np.uint8).tobytes(),
        _int16(target / metres) if moving else b"",
    ]
    return {
        "length": length,
        "metres": metres,
        "moving": moving,
        "return": float(flight.total_reward),
        "terminated": bool(flight.terminated),
        "data": base64.b64encode(b"".join(packed)).decode(),
    }


def _int16(values: np.ndarray) -> bytes:
    return np.round(values).astype("<i2").tobytes()
