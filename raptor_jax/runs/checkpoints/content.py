"""The content of checkpoints: trees of named arrays, the notes, and the digest of both."""

import hashlib
import json
from typing import Any, NamedTuple

import flax.serialization
import jax
import numpy as np

from raptor_jax import sac
from raptor_jax.population.best import Best
from raptor_jax.population.state import Population


class Notes(NamedTuple):
    """The state of a run at a checkpoint, besides its arrays; every value is one that JSON can hold."""

    attempt: int
    """0 in the main round, then the number of the extra round."""
    rows: list[int]
    """[R] places of the round's teachers among all T."""
    began: int
    """Environment steps of a teacher at the beginning of the round."""
    began_with: list[float | None]
    """[R] mean return of each teacher's kept actor at that step; None before its first evaluation."""
    teacher_updates: int
    """Sum of the updates of all teachers so far."""
    replay_rows: int
    """Filled rows of a teacher's replay, even if the replay is not saved."""
    curves: dict[str, int]
    """Number of points of each group of curves."""
    results: dict[str, Any]
    """The content of results.json."""
    restarts: list[int] | None = None
    """[R] how often each teacher of the round was rolled back; None in checkpoints of older versions."""


class StudentNotes(NamedTuple):
    """The state of a distillation at a checkpoint, besides its arrays; every value is one that JSON can hold."""

    teachers: str
    """Digest of the teachers' weights and drones."""
    results: dict[str, Any]
    """The content of student.json."""


def layers(network: sac.Parameters) -> dict[str, Any]:
    """Returns the layers of a network by name, as they are saved: `hidden_0`, `hidden_1`, `output`."""
    return network["params"]["mlp"]


def actor_of(tree: dict[str, Any]) -> sac.Parameters:
    """Returns the actors' weights in a tree of `load_best`, in the form that the networks take, each [T, ...]."""
    return _network(tree["actor"])


def best_of(tree: dict[str, Any]) -> Best:
    """Returns a tree of `load_best` as the `Best` of a population."""
    scalars = {name: tree[name] for name in ("alpha", "mean_return", "std_return", "step")}
    return Best(actor=_network(tree["actor"]), critic=_network(tree["critic"]), **scalars)


def _network(layers: dict[str, Any]) -> sac.Parameters:
    return {"params": {"mlp": layers}}


def tree_of_best(best: Best, teacher_ids: np.ndarray) -> dict[str, Any]:
    """Returns the saved content of the kept actors, as nested dictionaries of NumPy arrays."""
    networks = {"actor": layers(best.actor), "critic": layers(best.critic)}
    tree: dict[str, Any] = jax.tree.map(
        np.array, {**vars(best), **networks, "teacher_id": teacher_ids.astype(np.int32)}
    )
    return tree


def state_dict(population: Population, with_replay: bool) -> dict[str, Any]:
    """Returns the saved content of a population, as nested dictionaries of arrays."""
    tree = flax.serialization.to_state_dict(population.replace(keys=jax.random.key_data(population.keys)))
    if not with_replay or population.replay is None:
        del tree["replay"]
    return tree


def restore(population: Population, tree: dict[str, Any]) -> Population:
    """Returns a population with the content of a `state_dict`; arrays that it lacks are unchanged."""
    own = flax.serialization.to_state_dict(population)
    if own["replay"] and "replay" in tree:
        # Replays of older checkpoints have one field more.
        tree = {**tree, "replay": {name: tree["replay"][name] for name in own["replay"]}}
    complete = {**own, **tree}
    restored = flax.serialization.from_state_dict(population, complete)
    return restored.replace(keys=jax.random.wrap_key_data(restored.keys))


def digest(tree: Any) -> str:
    """Returns the SHA-256 of a tree of arrays, numbers and texts, of their types and of their places in the tree."""
    found = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(tree):
        array = np.asarray(leaf, order="C")
        content = json.dumps(leaf).encode() if array.dtype.kind == "U" else array.data
        found.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        found.update(content)
    return found.hexdigest()


def require_digest(tree: Any, expected: str) -> None:
    """Raises ValueError if a tree is not the one that was saved."""
    if digest(tree) != expected:
        raise ValueError("the content differs from what was saved")


def problem_of_best(tree: Any) -> str | None:
    """Returns why a tree is not one of `tree_of_best` for T teachers; None if it is."""
    vectors = {"alpha": "f", "mean_return": "f", "std_return": "f", "step": "i", "teacher_id": "i"}
    networks: tuple[str, ...] = ("actor", "critic")
    if isinstance(tree, dict) and not tree.keys() & {"alpha", "critic"}:
        # Version 0.1 kept the actor alone.
        del vectors["alpha"]
        networks = ("actor",)
    if not isinstance(tree, dict) or tree.keys() != {*vectors, *networks}:
        return f"it should hold actor, critic, {', '.join(vectors)}"
    teachers = np.shape(tree["teacher_id"])
    for name, kind in vectors.items():
        array = tree[name]
        if len(teachers) != 1 or np.shape(array) != teachers or np.asarray(array).dtype.kind != kind:
            return f"{name} should be one number for each teacher"
    for name in networks:
        if any(np.asarray(leaf).dtype != np.float32 for leaf in jax.tree.leaves(tree[name])):
            return f"the weights of the {name} should be float32"
    return None
