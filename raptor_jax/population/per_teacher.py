"""What holds for each teacher of a population, whatever it learns by: its key, and whether its numbers are finite."""

from typing import Any

import jax
import jax.numpy as jnp

from raptor_jax.config import Config


def teacher_key(config: Config, teacher_id: jax.Array, attempt: int) -> jax.Array:
    """Returns the random key that all draws of one attempt at a teacher follow from."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(config.training.seed), teacher_id), attempt)


def revive(population: Any, broken: jax.Array, times: jax.Array) -> Any:
    """Lets teachers that were put back go on from there with fresh random draws.

    Args:
        population: T teachers.
        broken: [T] bool, who is to go on.
        times: [T] int32, how often each of them has been put back by now.
    """
    fresh = jax.vmap(jax.random.fold_in)(population.keys, jnp.uint32(2**31) + times.astype(jnp.uint32))
    keys = select(broken, fresh, population.keys)
    return population.replace(keys=keys, active=population.active | broken)


def freeze_non_finite(before: Any, after: Any, parts: tuple[str, ...]) -> Any:
    """Puts teachers whose numbers are no longer finite back to where they were, and leaves them there.

    Args:
        before: a population.
        after: the same, later.
        parts: the fields that must stay finite and are put back; every array in them [T, ...].
    """

    def of(population: Any) -> dict[str, Any]:
        return {name: getattr(population, name) for name in parts}

    active = before.active & jax.vmap(_all_finite)(of(after))
    return after.replace(**select(active, of(after), of(before)), active=active)


def _all_finite(tree: Any) -> jax.Array:
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def select(condition: jax.Array, yes: Any, no: Any) -> Any:
    """Chooses between two trees of arrays [T, ...] by a condition [T], teacher by teacher."""

    def choose(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, yes, no)
