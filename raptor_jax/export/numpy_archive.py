"""A teacher for NumPy: the file of a start, so that another training can begin with it too."""

from pathlib import Path

from raptor_jax import starts
from raptor_jax.export.teacher import Teacher


def write(path: Path, teacher: Teacher) -> None:
    """Writes `LAYER/kernel` [inputs, outputs] and `LAYER/bias` [outputs], float32, and `provenance`, a JSON text."""
    starts.save(path, teacher.actor, teacher.provenance)
