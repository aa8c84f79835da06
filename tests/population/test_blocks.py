"""A population that is trained in blocks of teachers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax.population import model_free
from raptor_jax.population import sac as population
from raptor_jax.population.blocks import (
    CACHE_BYTES,
    LARGEST,
    LARGEST_OF_WINDOWS,
    block_by_block,
    block_size,
    in_whole_blocks,
    least_in_round,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]


def test_teachers_and_counters_end_as_they_do_all_at_once(tiny_config, drones):
    train = functools.partial(model_free.train, tiny_config, 3)

    def run(size: int):
        fresh = population.create(tiny_config, drones, jnp.arange(3))
        now, _ = population.collect(tiny_config, fresh, drones, iterations=8)
        after, metrics = jax.jit(lambda now: block_by_block(train, now, drones, size))(now)
        return after.replace(keys=jax.random.key_data(after.keys)), metrics

    # Roundings differ with the number of teachers in a product.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), run(1), run(3))


@pytest.mark.parametrize(
    ("teachers", "learner_bytes", "size"),
    [(1000, 1000, LARGEST), (7, 1000, 1), (6, 1000, 3), (64, CACHE_BYTES // 2, 2), (64, 2 * CACHE_BYTES, 1)],
)
def test_a_processor_takes_as_many_teachers_as_its_cache_holds_in_whole_blocks(teachers, learner_bytes, size):
    assert block_size(teachers, learner_bytes, "cpu") == size


@pytest.mark.parametrize(("teachers", "filled"), [(1, 1), (13, 14), (17, 18), (122, 126), (500, 504), (1000, 1000)])
def test_a_number_without_large_divisors_is_filled_up(teachers, filled):
    assert in_whole_blocks(teachers, "cpu") == filled
    assert block_size(filled, 1, "cpu", LARGEST_OF_WINDOWS) >= min(teachers, LARGEST_OF_WINDOWS // 2)
    assert in_whole_blocks(teachers, "gpu") == teachers


@pytest.mark.parametrize(
    ("teachers", "everyone", "least"),
    [(1, 1000, 250), (250, 1000, 250), (251, 1000, 1000), (2, 4000, 250), (251, 4000, 1000), (3, 64, 16), (17, 64, 64)],
)
def test_rounds_on_an_accelerator_have_few_sizes(teachers, everyone, least):
    assert least_in_round(teachers, everyone, "gpu") == least
    assert least_in_round(teachers, everyone, "cpu") == 0


def test_an_accelerator_takes_all_teachers_at_once():
    assert block_size(1000, CACHE_BYTES, "gpu") == 1000
