"""What holds for each teacher of a population, whatever it learns by: its key, and whether its numbers are finite."""

from typing import Any

import jax
import jax.numpy as jnp

from raptor_jax.config import Config


def teacher_key(config: Config, teacher_id: jax.Array, attempt: int) -> jax.Array:
    """Returns the random key that all draws of one attempt at a teacher follow from."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(config.training.seed), teacher_id), attempt)


def all_finite(*trees: Any) -> jax.Array:
    """Returns whether every number of one teacher's trees is finite: [] bool."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(trees)]))


def select(condition: jax.Array, yes: Any, no: Any) -> Any:
    """Chooses between two trees of arrays [T, ...] by a condition [T], teacher by teacher."""

    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, yes, no)
