"""Programs that run on blocks of teachers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax.config import Config
from raptor_jax.population import blocks, sharding
from raptor_jax.population import sac as population
from raptor_jax.population.blocks import CACHE_BYTES, LARGEST, LARGEST_OF_WINDOWS, block_size

MODEL_FREE, WINDOWS = (Config.model_validate({"sac": {"horizon": horizon}}) for horizon in (0, 200))


def advance(state, drones, number):
    """Returns a state of teachers and a shared counter, as a training does, and a report."""
    now = {"weights": state["weights"] * number + drones, "updates": state["updates"] + 1}
    return now, {"loss": now["weights"].sum(axis=1)}


@pytest.mark.parametrize("block", [1, 2, 3, 6])
def test_teachers_and_counters_end_as_they_do_all_at_once(block):
    mesh = sharding.mesh()
    drones, number = jnp.arange(6.0)[:, None], jnp.float32(3)

    def state():
        return {"weights": jnp.arange(12.0).reshape(6, 2), "updates": jnp.int32(4)}

    with sharding.compiling(mesh) as start:
        starting = functools.partial(blocks.start_compiling, start, mesh, block)
        training = starting(advance, (state(), drones, number), donate=True)
        selection = starting(lambda *arguments: advance(*arguments)[1], (state(), drones, number))
    expected, report = advance(state(), drones, number)
    once, loss = training()(state(), drones, number)
    jax.tree.map(np.testing.assert_array_equal, (once, loss), (expected, report))
    np.testing.assert_array_equal(selection()(state(), drones, number)["loss"], report["loss"])
    twice, _ = training()(once, drones, number)
    assert int(twice["updates"]) == 6


@pytest.mark.slow
@pytest.mark.usefixtures("unoptimized")
def test_a_population_with_a_replay_is_trained_as_all_at_once(tiny_config, drones):
    mesh = sharding.mesh()
    train = functools.partial(population.train, tiny_config, iterations=3)

    def run(block):
        fresh = population.create(tiny_config, drones, jnp.arange(3))
        now, _ = population.collect(tiny_config, fresh, drones, iterations=8)
        with sharding.compiling(mesh) as start:
            training = blocks.start_compiling(start, mesh, block, train, (now, drones), donate=True)
        after, metrics = training()(now, drones)
        return after.replace(keys=jax.random.key_data(after.keys)), metrics

    # Roundings differ with the number of teachers in a product.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), run(1), run(3))


@pytest.mark.parametrize(
    ("teachers", "learner_bytes", "size"),
    [(1000, 1000, LARGEST), (3, 1000, 3), (5, 1000, 3), (64, CACHE_BYTES // 2, 2), (64, 2 * CACHE_BYTES, 1)],
)
def test_a_processor_takes_as_many_teachers_as_its_cache_holds(teachers, learner_bytes, size):
    assert block_size(MODEL_FREE, "cpu", learner_bytes, teachers, teachers) == size


@pytest.mark.parametrize(("teachers", "size"), [(1, 1), (4, 1), (5, 8), (8, 8), (9, 8), (26, 8), (121, 8), (500, 8)])
def test_extra_rounds_on_a_processor_run_the_program_of_the_main_round_or_of_one_teacher(teachers, size):
    assert block_size(WINDOWS, "cpu", 1000, teachers, everyone=500) == size <= LARGEST_OF_WINDOWS


@pytest.mark.parametrize(
    ("teachers", "everyone", "size"),
    [(1, 1000, 250), (250, 1000, 250), (251, 1000, 1000), (2, 4000, 250), (251, 4000, 1000), (3, 64, 16), (17, 64, 64)],
)
def test_rounds_on_an_accelerator_have_few_sizes(teachers, everyone, size):
    assert block_size(WINDOWS, "gpu", CACHE_BYTES, teachers, everyone) == size
    assert block_size(MODEL_FREE, "gpu", CACHE_BYTES, teachers, everyone) == teachers


@pytest.mark.parametrize(("teachers", "block", "filled"), [(3, 1, 3), (8, 8, 8), (9, 8, 16), (1, 8, 8)])
def test_rows_are_filled_up_with_the_last_one(teachers, block, filled):
    rows = blocks.filled_up(np.arange(teachers), sharding.mesh(), block)
    assert rows.tolist() == [*range(teachers)] + [teachers - 1] * (filled - teachers)
