"""The estimate of a run's memory."""

import jax
import jax.numpy as jnp
import pytest

from raptor_jax.population import best, memory
from raptor_jax.population import sac as population
from raptor_jax.utils.trees import take

AVAILABLE = 2**30


@pytest.mark.parametrize("block", [1, 3])
def test_the_suggested_replay_fits_with_the_copies_of_a_block(tiny_config, drones, block):
    def plan(capacity):
        sac = tiny_config.sac.model_copy(update={"replay_capacity": capacity})
        training = tiny_config.training.model_copy(update={"steps_per_teacher": 10**8})
        config = tiny_config.model_copy(update={"sac": sac, "training": training})
        drone = take(drones, slice(1))
        shapes = jax.eval_shape(lambda: population.create(config, drone, jnp.arange(1)))
        kept = jax.eval_shape(best.create, shapes.teachers)
        return memory.plan(config, drone, shapes, kept, 3, block)

    capacity = memory.fitting_capacity(plan(10**8), tiny_config, 3, block, AVAILABLE)
    assert 0.9 * AVAILABLE < plan(capacity).total <= AVAILABLE
