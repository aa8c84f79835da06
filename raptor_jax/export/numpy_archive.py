"""A teacher as a NumPy archive, which is also a warm start for another training."""

from pathlib import Path

from raptor_jax.export.teacher import Teacher
from raptor_jax.runs import warm_start


def write(path: Path, teacher: Teacher) -> None:
    """Writes `LAYER/kernel` [inputs, outputs] and `LAYER/bias` [outputs], float32, and `provenance`, a JSON text."""
    warm_start.save(path, teacher.actor, teacher.provenance)
