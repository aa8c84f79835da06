"""Per-teacher functions for all horizons: random keys, and the rollback of teachers that diverge."""

from typing import Any

import jax
import jax.numpy as jnp

from raptor_jax.config import Config


def teacher_key(config: Config, teacher_id: jax.Array, attempt: jax.Array | int) -> jax.Array:
    """Returns the random key of one attempt at a teacher; all its draws follow from it."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(config.training.seed), teacher_id), attempt)


def revive(population: Any, broken: jax.Array, times: jax.Array) -> Any:
    """Reseeds and reactivates teachers that were rolled back.

    Args:
        population: T teachers.
        broken: [T] bool, the teachers to reactivate.
        times: [T] int32, how often each teacher has been rolled back so far.
    """
    fresh = jax.vmap(jax.random.fold_in)(population.keys, jnp.uint32(2**31) + times.astype(jnp.uint32))
    keys = select(broken, fresh, population.keys)
    return population.replace(keys=keys, active=population.active | broken)


def freeze_non_finite(before: Any, after: Any, parts: tuple[str, ...]) -> Any:
    """Rolls back teachers with non-finite numbers, and freezes them.

    Args:
        before: the population before a chunk.
        after: the population after it.
        parts: the fields that must stay finite and are rolled back; every array in them [T, ...].
    """

    def of(population: Any) -> dict[str, Any]:
        return {name: getattr(population, name) for name in parts}

    active = before.active & jax.vmap(_all_finite)(of(after))
    return after.replace(**select(active, of(after), of(before)), active=active)


def _all_finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def select(condition: jax.Array, yes: Any, no: Any) -> Any:
    """Selects from two trees of arrays [T, ...], teacher by teacher, by a condition [T]."""

    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, yes, no)
