"""Recorded flights, packed: 18 bytes a step, or 24 where the target moves; `flight.js` unpacks them.

Little-endian arrays one after another, each [length, columns]: position int16 in units of `metres`, orientation int16
in units of 1/32767, motor commands uint8 from 0 (lowest throttle) to 255, and, where the target moves, its position as
the drone's.
"""

import base64
from typing import Any

import numpy as np

from raptor_jax.evaluation import Recording

_LARGEST = 32767


def pack(recording: Recording) -> list[dict[str, Any]]:
    """Returns the flights of a recording [T, ...], each as a JSON object."""
    columns = {name: np.asarray(value) for name, value in vars(recording).items()}
    return [
        _pack_one(Recording(**{name: value[row] for name, value in columns.items()}))
        for row in range(len(columns["length"]))
    ]


def _pack_one(flight: Recording) -> dict[str, Any]:
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
