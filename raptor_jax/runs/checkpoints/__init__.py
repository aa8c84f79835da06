"""Checkpoints on disk; the only package that imports orbax. Their paths are in `runs/layout.py`.

writer.py     saves checkpoints, in the background
reader.py     reads them back, and reports damaged ones
content.py    their content: trees of named arrays, the notes, and the digest of both

Every array has a name. Counters (`flown`, `updates`, `replay.cursor`, `replay.filled`) are scalars; all other arrays
have the teacher axis first, in the order of the checkpoint's own `teacher_id`. An extra round saves the teachers that
it trains; the last one is repeated if the number of devices does not divide theirs. Plain Orbax reads a checkpoint
without this package, as nested dictionaries of NumPy arrays.

The notes contain a digest of everything that was saved with them: otherwise a flipped bit in an array, or in a number
of the notes, would go unnoticed.
"""

from raptor_jax.runs.checkpoints.content import (
    Notes,
    StudentNotes,
    actor_of,
    best_of,
    digest,
    layers,
    restore,
    state_dict,
    tree_of_best,
)
from raptor_jax.runs.checkpoints.reader import (
    Examined,
    examine,
    load_best,
    load_kept_student,
    load_latest,
    load_notes,
    resumable_steps,
)
from raptor_jax.runs.checkpoints.writer import Writer, estimated_bytes

__all__ = [
    "Examined",
    "Notes",
    "StudentNotes",
    "Writer",
    "actor_of",
    "best_of",
    "digest",
    "estimated_bytes",
    "examine",
    "layers",
    "load_best",
    "load_kept_student",
    "load_latest",
    "load_notes",
    "restore",
    "resumable_steps",
    "state_dict",
    "tree_of_best",
]
