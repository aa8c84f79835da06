"""A teacher for NumPy: the file of a start, so that another training can begin with it too."""

from pathlib import Path

from raptor_jax.export.teacher import Teacher
from raptor_jax.runs import warm_start


def write(path: Path, teacher: Teacher) -> None:
    """Writes `LAYER/kernel` [inputs, outputs] and `LAYER/bias` [outputs], float32, and `provenance`, a JSON text."""
    warm_start.save(path, teacher.actor, teacher.provenance)
