"""What is kept: the best actor of each teacher, whoever was evaluated."""

import jax
import jax.numpy as jnp
import numpy as np

from raptor_jax.population import best

WEIGHTS = {"params": {"kernel": jnp.zeros((3, 2))}}
ALL = jnp.arange(3)


def keep(kept, rows, returns, step):
    """Keeps actors whose weights are the step that they are from."""
    actors = jax.tree.map(lambda leaf: jnp.full((len(rows), *leaf.shape[1:]), float(step)), WEIGHTS)
    returns = jnp.asarray(returns)
    return best.keep(kept, rows, actors, returns, returns / 10, jnp.int32(step))


def test_the_best_actor_is_kept_teacher_by_teacher():
    kept = best.create(WEIGHTS)
    np.testing.assert_array_equal(kept.mean_return, [-np.inf] * 3)
    for step, returns in enumerate([(1.0, np.nan, -5.0), (0.5, 3.0, -2.0), (1.0, np.nan, -np.inf)], start=1):
        kept = keep(kept, ALL, returns, step)
    np.testing.assert_array_equal(kept.mean_return, [1.0, 3.0, -2.0])
    np.testing.assert_allclose(kept.std_return, [0.1, 0.3, -0.2], rtol=1e-6)
    np.testing.assert_array_equal(kept.step, [1, 2, 2])
    np.testing.assert_array_equal(kept.actor["params"]["kernel"], [[1, 1], [2, 2], [2, 2]])


def test_an_evaluation_of_some_leaves_the_others_alone():
    kept = keep(best.create(WEIGHTS), ALL, (1.0, 2.0, 3.0), 1)
    kept = keep(kept, jnp.array([2, 0]), (4.0, 0.0), 2)
    np.testing.assert_array_equal(kept.mean_return, [1.0, 2.0, 4.0])
    np.testing.assert_array_equal(kept.step, [1, 1, 2])
