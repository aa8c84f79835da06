"""Per-teacher functions for all horizons: random keys, and the rollback of teachers that diverge."""

from typing import Any

import jax
import jax.numpy as jnp

from raptor_jax.config import Config
from raptor_jax.population.state import Population


def teacher_key(config: Config, teacher_id: jax.Array, attempt: jax.Array | int) -> jax.Array:
    """Returns the random key of one attempt at a teacher; all its draws follow from it."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(config.training.seed), teacher_id), attempt)


def revive(population: Population, broken: jax.Array, times: jax.Array) -> Population:
    """Reseeds and reactivates teachers that were rolled back.

    Args:
        population: T teachers.
        broken: [T] bool, the teachers to reactivate.
        times: [T] int32, how often each teacher has been rolled back so far.
    """
    # Above the counters of updates and steps, which are below 2^31, so that no draw is repeated.
    fresh = jax.vmap(jax.random.fold_in)(population.keys, jnp.uint32(2**31) + times.astype(jnp.uint32))
    keys = select(broken, fresh, population.keys)
    return population.replace(keys=keys, active=population.active | broken)


def freeze_non_finite(before: Population, after: Population) -> Population:
    """Rolls back teachers or episodes with non-finite numbers, and freezes these teachers.

    Args:
        before: the population before a chunk.
        after: the population after it.
    """
    (teachers, episodes), old = (after.teachers, after.episodes), (before.teachers, before.episodes)
    active = before.active & jax.vmap(_all_finite)((teachers, episodes))
    teachers, episodes = select(active, (teachers, episodes), old)
    return after.replace(teachers=teachers, episodes=episodes, active=active)


def _all_finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def select(condition: jax.Array, yes: Any, no: Any) -> Any:
    """Selects from two trees of arrays [T, ...], teacher by teacher, by a condition [T]."""

    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, yes, no)
