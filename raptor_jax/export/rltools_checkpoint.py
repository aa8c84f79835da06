"""A teacher as a checkpoint of RLtools' SAC: the HDF5 file that RAPTOR's post-training loads.

The layout is that of RLtools' `save` functions (`nn_models/sequential`, `nn_models/mlp`, `nn/layers/dense`,
`nn/layers/sample_and_squash`, `rl/loop/steps/checkpoint`) up to version 2.1, which includes RAPTOR's release. RLtools
2.2 and later store biases as vectors and refuse these files.
"""

import json
from pathlib import Path

import h5py
import jax
import numpy as np

from raptor_jax.export import h5_file
from raptor_jax.export.teacher import Teacher
from raptor_jax.simulator import OBSERVATION_DIM

_LAYERS = {
    "hidden_0": ("input_layer", "RELU"),
    "hidden_1": ("hidden_layer_0", "RELU"),
    "output": ("output_layer", "IDENTITY"),
}
"""By layer: its name in RLtools, and its activation function."""

_OBSERVATION = (
    "Position.OrientationRotationMatrix.LinearVelocity.AngularVelocityDelayed(0).ActionHistory(1).RotorSpeeds"
)
"""The teacher's observation in RLtools' notation."""

_EXAMPLES = 64


def write(path: Path, teacher: Teacher) -> None:
    """Writes the groups `actor` (the network) and `example` (observations and the actions at them)."""
    with h5_file.writing(path) as file:
        _write_actor(file.create_group("actor"), teacher)
        _write_example(file.create_group("example"), teacher)


def _write_actor(group: h5py.Group, teacher: Teacher) -> None:
    environment = {"name": "l2f", "observation": _OBSERVATION}
    group.attrs["type"] = "sequential"
    group.attrs["checkpoint_name"] = f"{teacher.provenance['run']['directory']}/{teacher.name}"
    group.attrs["meta"] = json.dumps({"environment": environment, "raptor_jax": teacher.provenance})
    mlp = group.create_group("layers/0")
    mlp.attrs["type"] = "mlp"
    mlp.attrs["num_layers"] = str(len(_LAYERS))
    for ours, (theirs, activation) in _LAYERS.items():
        layer = teacher.layers[ours]
        h5_file.write_dense(mlp.create_group(theirs), layer["kernel"], layer["bias"], activation)
    group.create_group("layers/1").attrs["type"] = "sample_and_squash"


def _write_example(group: h5py.Group, teacher: Teacher) -> None:
    """Writes observations [time, batch, 26] from N(0, 1), as in RLtools, and the deterministic actions at them."""
    observation = np.random.default_rng(0).standard_normal((1, _EXAMPLES, OBSERVATION_DIM), np.float32)
    # By default a GPU multiplies with 10 bits of mantissa; examples in files must hold to 1e-5 on any machine.
    with jax.default_matmul_precision("highest"):
        action = np.asarray(teacher.action(observation))
    h5_file.write_tensor(group, "input", observation)
    h5_file.write_tensor(group, "output", action)
