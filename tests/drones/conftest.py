"""The reference drones, if they exist next to the repository."""

import json
from pathlib import Path
from typing import Any

import pytest

from raptor_jax.config import SamplingConfig
from raptor_jax.drones.files import to_json
from raptor_jax.drones.sampling import sample_drone
from validation.drones import REFERENCE

RAPTOR = SamplingConfig(
    task="raptor",
    rotor_time_constant_rising_min=0.03,
    rotor_time_constant_rising_max=0.1,
    rotor_time_constant_falling_min=0.03,
    rotor_time_constant_falling_max=0.3,
    mass_size_deviation_law="l2f",
)


@pytest.fixture
def reference() -> Path:
    return REFERENCE


@pytest.fixture
def raptor() -> SamplingConfig:
    return RAPTOR


@pytest.fixture
def content() -> dict[str, Any]:
    """A drone's file as JSON."""
    return json.loads(to_json(*sample_drone(SamplingConfig(), 0)))
