"""The trees of arrays that checkpoints contain."""

import jax
import jax.numpy as jnp
import numpy as np

from raptor_jax.population import sac as populations
from raptor_jax.runs import checkpoints


def test_a_replay_saved_with_a_field_that_is_gone_is_restored(tiny_config, drones):
    population = populations.create(tiny_config, drones, jnp.arange(3))
    saved = checkpoints.state_dict(population, with_replay=True)
    saved["replay"] = {**saved["replay"], "first": jnp.int32(0), "filled": jnp.int32(7)}
    restored = checkpoints.restore(population, saved)
    assert int(restored.replay.filled) == 7
    expected = population.replace(replay=population.replay.replace(filled=jnp.int32(7)))
    trees = (checkpoints.state_dict(one, with_replay=True) for one in (restored, expected))
    jax.tree.map(np.testing.assert_array_equal, *trees)
