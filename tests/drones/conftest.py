"""A drone's file, with any of its fields changed."""

import functools
import json
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raptor_jax.config import SamplingConfig
from raptor_jax.drones.files import to_json
from raptor_jax.drones.sampling import sample_drone


@pytest.fixture
def content() -> dict[str, Any]:
    """A drone's file as JSON."""
    return json.loads(to_json(*sample_drone(SamplingConfig(), 0)))


@pytest.fixture
def changed(content, tmp_path) -> Callable[[dict[str, Any]], Path]:
    """A function that sets fields of `content`, or removes those whose value is None, and writes it to a file."""

    def write(changes):
        for field, value in changes.items():
            *groups, name = field.split(".")
            group = functools.reduce(operator.getitem, groups, content)
            if value is None:
                del group[name]
            else:
                group[name] = value
        path = tmp_path / "a.json"
        path.write_text(json.dumps(content))
        return path

    return write
