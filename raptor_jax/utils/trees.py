"""Trees of arrays."""

from typing import Any

import jax


def tree_bytes(tree: Any) -> int:
    """Returns the size in bytes of all arrays, or shape structs, in a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def leading_size(tree: Any) -> int:
    """Returns the size of the leading axis, which all arrays of a tree share."""
    return int(jax.tree.leaves(tree)[0].shape[0])


def take(tree: Any, rows: Any) -> Any:
    """Returns these rows (an index, a slice or an array of indices) of the leading axis of every array."""
    return jax.tree.map(lambda leaf: leaf[rows], tree)
