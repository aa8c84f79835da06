"""The warm start: the actor that every teacher begins with, one policy for many drones, in a file that NumPy opens.

START.npz holds each weight as LAYER/kernel or LAYER/bias, and `provenance`, a JSON text about how it was made.
"""

import json
from importlib import resources
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.errors import UserError, first_line
from raptor_jax.utils.files import Unreadable, read_arrays, write_atomically

_MAX_BYTES = 1 << 26
PACKAGED, SCRATCH = "packaged", "scratch"
_PROVENANCE = "provenance"
_LAYERS = ("hidden_0", "hidden_1", "output")
_FIX = f"name a file that train-start or export wrote; --training.start also takes {PACKAGED} or {SCRATCH}"
_WEIGHTS = tuple(f"{layer}/{kind}" for layer in _LAYERS for kind in ("kernel", "bias"))


def load(config: Config) -> sac.Parameters | None:
    """Returns the weights of the actor that `training.start` names; None where teachers begin with random weights.

    Raises:
        UserError: the file is missing, is not a start, or does not fit the configured networks.
    """
    if config.sac.horizon == 0 or config.training.start == SCRATCH:
        return None
    path = _path(config.training.start)
    arrays, _ = read(path)
    expected = jax.eval_shape(lambda: sac.create(config.sac, jax.random.key(0)).actor)["params"]["mlp"]
    mlp: dict[str, Any] = {layer: {} for layer in _LAYERS}
    for name in _WEIGHTS:
        layer, kind = name.split("/")
        shape = expected[layer][kind].shape
        array = arrays[name]
        if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
            raise UserError(
                f"{path}: {name} should hold finite float32 numbers of shape {shape}, and is"
                f" {array.dtype} of shape {array.shape}; set sac.actor_hidden_dim to the start's, or name another start"
            )
        mlp[layer][kind] = array
    return {"params": {"mlp": mlp}}


def provenance(start: str) -> dict[str, Any]:
    """Returns how a start was made: configuration, versions, drones and curve. Raises UserError as `load`."""
    return read(_path(start))[1]


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the weights of a start by LAYER/KIND, and its provenance. Raises UserError where the file is no start."""
    try:
        arrays = read_arrays(path, _MAX_BYTES)
    except Unreadable as error:
        raise UserError(f"{path}: {error}; {_FIX}") from None
    if missing := [name for name in (*_WEIGHTS, _PROVENANCE) if name not in arrays]:
        raise UserError(f"{path}: not a start: holds no {missing[0]}; {_FIX}")
    try:
        made = json.loads(str(arrays.pop(_PROVENANCE)))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: its provenance is not JSON: {first_line(error)}; {_FIX}") from None
    return arrays, cast(dict[str, Any], made)


def save(path: Path, actor: sac.Parameters, made: dict[str, Any]) -> None:
    """Writes a start: an actor's weights, and how it was made."""
    mlp = actor["params"]["mlp"]
    arrays = {name: np.asarray(mlp[name.split("/")[0]][name.split("/")[1]], np.float32) for name in _WEIGHTS}
    arrays[_PROVENANCE] = np.array(json.dumps(made))
    write_atomically(path, lambda file: np.savez_compressed(file, **cast(Any, arrays)))


def _path(start: str) -> Path:
    return Path(str(resources.files("raptor_jax.runs"))) / "warm_start.npz" if start == PACKAGED else Path(start)
