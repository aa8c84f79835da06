"""Trees of arrays, whatever they hold."""

from typing import Any

import jax


def tree_bytes(tree: Any) -> int:
    """Returns the bytes of all arrays, or shapes of arrays, in a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
