"""The student as a NumPy archive: the file that `distill` writes, see `runs.student_file`."""

from pathlib import Path

from raptor_jax.export.student.policy import Student
from raptor_jax.runs import student_file


def write(path: Path, student: Student) -> None:
    """Writes every weight as LAYER/KIND, float32, and `provenance`, a JSON text."""
    student_file.save(path, student.weights, student.provenance)
