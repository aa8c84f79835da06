"""Trees of arrays."""

from typing import Any

import jax


def tree_bytes(tree: Any) -> int:
    """Returns the size in bytes of all arrays, or shape structs, in a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
