"""The warm start: the actor with which every teacher begins, one policy for many drones, in a .npz file.

START.npz holds each weight as LAYER/kernel or LAYER/bias, and `provenance`, a JSON text about how it was made.
"""

from importlib import resources
from pathlib import Path
from typing import Any

import jax
import numpy as np

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.runs import weights_file

PACKAGED, SCRATCH = "packaged", "scratch"
_LAYERS = ("hidden_0", "hidden_1", "output")
_FIX = f"name a file that train-start or export wrote; --training.start also takes {PACKAGED} or {SCRATCH}"
_WEIGHTS = tuple(f"{layer}/{kind}" for layer in _LAYERS for kind in ("kernel", "bias"))


def load(config: Config) -> sac.Parameters | None:
    """Returns the weights of the actor that `training.start` names; None if teachers begin with random weights.

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
        fix = "set sac.actor_hidden_dim to that of the warm start, or name another one"
        weights_file.require(path, name, arrays[name], expected[layer][kind].shape, fix)
        mlp[layer][kind] = arrays[name]
    return {"params": {"mlp": mlp}}


def provenance(start: str) -> dict[str, Any]:
    """Returns how a start was made: configuration, versions, drones and curve. Raises UserError as `load`."""
    return read(_path(start))[1]


def read(path: Path, fix: str = _FIX) -> weights_file.Content:
    """Returns the weights of a warm start by LAYER/KIND, and its provenance.

    Args:
        path: the file.
        fix: what the user can do if it is not one, for the error.

    Raises:
        UserError: the file is not a warm start.
    """
    return weights_file.read(path, "warm start", fix, _WEIGHTS)


def save(path: Path, actor: sac.Parameters, made: dict[str, Any]) -> None:
    """Writes a start: an actor's weights, and how it was made."""
    mlp = actor["params"]["mlp"]
    arrays = {name: np.asarray(mlp[name.split("/")[0]][name.split("/")[1]]) for name in _WEIGHTS}
    weights_file.save(path, arrays, made)


def _path(start: str) -> Path:
    return Path(str(resources.files("raptor_jax.runs"))) / "warm_start.npz" if start == PACKAGED else Path(start)
