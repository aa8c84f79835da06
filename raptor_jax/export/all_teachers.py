"""All teachers of a run in one NumPy archive, small enough for a code repository: 11.5 kB per teacher.

Weights are float16, and the log standard deviations are omitted, because the deterministic action does not need them.
For the 1000 teachers of docs/thousand.md the actions differ by at most 0.0055 of [-1, 1] from those of the float32
weights.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from raptor_jax.errors import UserError
from raptor_jax.export.teacher import Teacher
from raptor_jax.utils.files import write_atomically


def write(path: Path, teachers: Sequence[Teacher]) -> None:
    """Writes the teachers of one run, T of them.

    The archive contains `LAYER/kernel` [T, inputs, outputs] and `LAYER/bias` [T, outputs], float16, where the output
    layer has only the means of the four rotors; `teacher_id` [T], int32; and `provenance`, a JSON text with `teachers`
    (of each the entry `teacher` in the provenance of a single file) and `run`.

    Raises:
        UserError: a weight is too large for float16.
    """
    arrays: dict[str, np.ndarray] = {}
    for layer, kinds in teachers[0].mean_layers.items():
        for kind in kinds:
            arrays[f"{layer}/{kind}"] = np.stack([_rounded(teacher, layer, kind) for teacher in teachers])
    arrays["teacher_id"] = np.array([teacher.teacher_id for teacher in teachers], np.int32)
    provenance = {
        "teachers": [teacher.provenance["teacher"] for teacher in teachers],
        "run": teachers[0].provenance["run"],
    }
    arrays["provenance"] = np.array(json.dumps(provenance))
    write_atomically(path, lambda file: np.savez_compressed(file, **cast(Any, arrays)))


def _rounded(teacher: Teacher, layer: str, kind: str) -> np.ndarray:
    """Returns weights of a layer in float16."""
    weights = teacher.mean_layers[layer][kind]
    most, limit = np.abs(weights).max(), np.finfo(np.float16).max
    if most > limit:
        too_large = f"{layer}/{kind}: {most:.3g} is above {limit:.0f}, the largest number in float16"
        raise UserError(f"{teacher.name}: {too_large}; use --format npz")
    return weights.astype(np.float16)
