"""The student as RLtools' HDF5 checkpoint, in the layout of the published policy's `checkpoint.h5`.

The package `foundation_policy` can load it instead of its own file.
"""

import json
from pathlib import Path

import h5py

from raptor_jax.export import h5_file
from raptor_jax.export.student import rltools_layers
from raptor_jax.export.student.policy import Student


def write(path: Path, student: Student) -> None:
    """Writes the groups `actor` (the network) and `example` (observations and the actions at them)."""
    with h5_file.writing(path) as file:
        _write_actor(file.create_group("actor"), student)
        group = file.create_group("example")
        for name, values in rltools_layers.example(student)._asdict().items():
            h5_file.write_tensor(group, name, values)


def _write_actor(group: h5py.Group, student: Student) -> None:
    group.attrs["type"] = "sequential"
    group.attrs["checkpoint_name"] = f"{student.directory}/student"
    group.attrs["meta"] = json.dumps({"environment": rltools_layers.ENVIRONMENT, "raptor_jax": student.provenance})
    layers = rltools_layers.layers(student)
    h5_file.write_dense(group.create_group("layers/0"), *layers.input)
    gru = group.create_group("layers/1")
    gru.attrs["type"] = "gru"
    for name, values in layers.gru.items():
        h5_file.write_tensor(gru.create_group(name), "parameters", values)
    h5_file.write_dense(group.create_group("layers/2"), *layers.output)
