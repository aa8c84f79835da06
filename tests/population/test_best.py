"""The best actor of each teacher is kept, whichever teachers were evaluated."""

import jax
import jax.numpy as jnp
import numpy as np

from raptor_jax import sac
from raptor_jax.config import SacConfig
from raptor_jax.population import best

ALL = jnp.arange(3)


def teachers(count, value):
    """Returns teachers all of whose numbers are a value."""
    config = SacConfig(actor_hidden_dim=2, critic_hidden_dim=2)
    one = jax.eval_shape(lambda: sac.create(config, jax.random.key(0)))
    return jax.tree.map(lambda leaf: jnp.full((count, *leaf.shape), value, leaf.dtype), one)


NEW = teachers(3, 0)


def keep(kept, rows, returns, step):
    """Keeps teachers whose weights are the step that they are from."""
    returns = jnp.asarray(returns)
    return best.keep(kept, rows, teachers(len(rows), step), returns, returns / 10, jnp.int32(step))


def test_the_best_actor_is_kept_teacher_by_teacher():
    kept = best.create(NEW)
    np.testing.assert_array_equal(kept.mean_return, [-np.inf] * 3)
    for step, returns in enumerate([(1.0, np.nan, -5.0), (0.5, 3.0, -2.0), (1.0, np.nan, -np.inf)], start=1):
        kept = keep(kept, ALL, returns, step)
    np.testing.assert_array_equal(kept.mean_return, [1.0, 3.0, -2.0])
    np.testing.assert_allclose(kept.std_return, [0.1, 0.3, -0.2], rtol=1e-6)
    np.testing.assert_array_equal(kept.step, [1, 2, 2])
    for network in (kept.actor, kept.critic):
        bias = network["params"]["mlp"]["output"]["bias"].reshape(3, -1)
        np.testing.assert_array_equal(bias, [[step] * bias.shape[1] for step in (1, 2, 2)])
    np.testing.assert_allclose(kept.alpha, np.exp([1, 2, 2]), rtol=1e-6)


def test_an_evaluation_of_some_teachers_does_not_change_the_others():
    kept = keep(best.create(NEW), ALL, (1.0, 2.0, 3.0), 1)
    kept = keep(kept, jnp.array([2, 0]), (4.0, 0.0), 2)
    np.testing.assert_array_equal(kept.mean_return, [1.0, 2.0, 4.0])
    np.testing.assert_array_equal(kept.step, [1, 1, 2])
