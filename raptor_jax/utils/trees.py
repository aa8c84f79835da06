"""Trees of arrays."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree


def tree_bytes(tree: Any) -> int:
    """Returns the size in bytes of all arrays, or shape structs, in a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def leading_size(tree: Any) -> int:
    """Returns the size of the leading axis, which all arrays of a tree share."""
    return int(jax.tree.leaves(tree)[0].shape[0])


def take(tree: Any, rows: Any) -> Any:
    """Returns these rows (an index, a slice or an array of indices) of the leading axis of every array."""
    return jax.tree.map(lambda leaf: leaf[rows], tree)


def packing(example: Any, batch_axes: int) -> tuple[Callable[[Any], jax.Array], Callable[[Any], Any]]:
    """Returns a function that packs trees of a shape into one array, and its inverse.

    Args:
        example: a tree of that shape. Integers are packed as floating-point numbers: float32 holds them up to 2^24.
        batch_axes: leading axes that all its arrays share; the packed array has one more.
    """

    def over_batch(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return functools.reduce(lambda inner, _: jax.vmap(inner), range(batch_axes), function)

    one = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[batch_axes:], leaf.dtype), example)
    return over_batch(lambda tree: ravel_pytree(tree)[0]), over_batch(ravel_pytree(one)[1])
