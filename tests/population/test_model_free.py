"""Many teachers at once, model-free: teachers are independent, even of one that diverges; training is in place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone, stack
from raptor_jax.population import model_free
from raptor_jax.population import sac as population
from raptor_jax.population.sac import Population
from validation.drones import on_device, sampled_drones, take

# Which teacher has which numbers is tested; that they fly is in tests/training.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

IDS = (7, 3, 5)
"""Identities unlike the positions."""
WARMUP = 4
ITERATIONS = 2
CHUNKS = 3
FAULTY = 1
OTHERS = [0, 2]


def untrained(config: Config, drones: Drone, ids: tuple[int, ...] = IDS) -> Population:
    """Returns a population after the steps without learning."""
    fresh = population.create(config, drones, jnp.asarray(ids))
    return population.collect(config, fresh, drones, iterations=WARMUP)[0]


def trained(
    config: Config, start: Population, drones: Drone, chunks: int = CHUNKS, iterations: int = ITERATIONS
) -> Population:
    """Returns a population after some chunks; `start` is used up."""
    for _ in range(chunks):
        start, _ = population.train(config, start, drones, iterations=iterations)
    return start


def of(after: Population, teachers: list[int]) -> dict[str, list[np.ndarray]]:
    """Returns everything that training changes of some teachers, as flat lists of NumPy arrays."""
    filled = int(after.replay.filled)
    parts = {
        "teachers": after.teachers,
        "episodes": after.episodes,
        "replay": after.replay.rows[:, :filled],
    }
    return {name: [np.asarray(leaf)[teachers] for leaf in jax.tree.leaves(part)] for name, part in parts.items()}


def assert_equal(a: dict[str, list[np.ndarray]], b: dict[str, list[np.ndarray]]) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def assert_close(a: dict[str, list[np.ndarray]], b: dict[str, list[np.ndarray]]) -> None:
    """With another number of teachers the order of sums may differ: allows for rounding, amplified by a few updates."""
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4), a, b)


@pytest.fixture(scope="module")
def reference(tiny_config, drones) -> dict[str, list[np.ndarray]]:
    """The three teachers after a few chunks."""
    return of(trained(tiny_config, untrained(tiny_config, drones), drones), [0, 1, 2])


def rows_of(reference: dict[str, list[np.ndarray]], teachers: list[int]) -> dict[str, list[np.ndarray]]:
    return jax.tree.map(lambda leaf: leaf[teachers], reference)


def test_training_changes_every_teacher_and_makes_them_different(tiny_config, drones, reference):
    before = of(untrained(tiny_config, drones), [0, 1, 2])
    for old, new in zip(before["teachers"], reference["teachers"], strict=True):
        assert np.all(np.any((old != new).reshape(len(IDS), -1), axis=1))
        if np.issubdtype(new.dtype, np.floating):
            assert np.any(new[0] != new[1])
            assert np.any(new[1] != new[2])


def test_the_same_run_twice_is_the_same(tiny_config, drones, reference):
    assert_equal(of(trained(tiny_config, untrained(tiny_config, drones), drones), [0, 1, 2]), reference)


def test_another_seed_is_another_run(tiny_config, drones):
    other = tiny_config.model_copy(update={"training": tiny_config.training.model_copy(update={"seed": 1})})
    a, b = (population.create(config, drones, jnp.asarray(IDS)) for config in (tiny_config, other))
    assert np.all(a.episodes.observation[..., -1] != b.episodes.observation[..., -1])
    assert np.all(jax.random.key_data(a.keys) != jax.random.key_data(b.keys))


def test_teachers_of_equal_drones_differ_by_identity(tiny_config, drones):
    fresh = population.create(tiny_config, take(drones, [0] * len(IDS)), jnp.asarray(IDS))
    key_data = jax.random.key_data(fresh.keys)
    kernel = fresh.teachers.actor["params"]["mlp"]["hidden_0"]["kernel"]
    for values in (kernel, fresh.episodes.state.rotor_state, key_data):
        assert len(np.unique(np.asarray(values).reshape(len(IDS), -1), axis=0)) == len(IDS)


@pytest.mark.slow
def test_a_teacher_alone_is_the_same_as_among_others(tiny_config, drones, reference):
    position = 1
    own = take(drones, [position])
    alone = trained(tiny_config, untrained(tiny_config, own, IDS[position : position + 1]), own)
    assert_close(of(alone, [0]), rows_of(reference, [position]))


def test_a_teachers_position_does_not_matter(tiny_config, drones, reference):
    order = [2, 0, 1]
    permuted = take(drones, order)
    ids = tuple(IDS[i] for i in order)
    assert_close(
        of(trained(tiny_config, untrained(tiny_config, permuted, ids), permuted), [0, 1, 2]), rows_of(reference, order)
    )


@pytest.mark.slow
def test_two_chunks_equal_one_of_twice_the_length(tiny_config, drones):
    halves, whole = (
        trained(tiny_config, untrained(tiny_config, drones), drones, chunks, iterations)
        for chunks, iterations in ((2, ITERATIONS), (1, 2 * ITERATIONS))
    )
    assert_equal(of(halves, [0, 1, 2]), of(whole, [0, 1, 2]))
    assert (halves.flown, halves.updates) == (whole.flown, whole.updates)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environments", "steps_per_update", "interval", "capacity"), [(2, 1, 2, 1000), (1, 3, 1, 1000), (3, 2, 3, 30)]
)
def test_steps_and_updates_are_counted_and_each_phase_compiles_once(
    tiny_config, environments, steps_per_update, interval, capacity
):
    config = Config(
        environment=tiny_config.environment.model_copy(update={"environments_per_teacher": environments}),
        sac=tiny_config.sac.model_copy(
            update={
                "steps_per_update": steps_per_update,
                "actor_update_interval": interval,
                "replay_capacity": capacity,
            }
        ),
        training=tiny_config.training,
    )
    drones = on_device(stack(sampled_drones(2)))
    programs = (population.create, population.collect, population.train)
    compiled = [program._cache_size() for program in programs]
    now = population.create(config, drones, jnp.arange(2))
    for _ in range(2):
        now, _ = population.collect(config, now, drones, iterations=WARMUP)
    for _ in range(CHUNKS):
        now, _ = population.train(config, now, drones, iterations=ITERATIONS)
    rounds = ITERATIONS * CHUNKS
    assert now.updates == rounds * interval
    assert now.flown == 2 * WARMUP + rounds * interval * steps_per_update
    steps = environments * int(now.flown)
    assert steps == environments * 2 * WARMUP + rounds * model_free.steps_per_iteration(config)
    assert now.replay.filled == min(steps, capacity)
    assert now.replay.cursor == steps % now.replay.rows.shape[1]
    np.testing.assert_array_equal(now.teachers.critic_optimizer.count, [rounds * interval] * 2)
    np.testing.assert_array_equal(now.teachers.actor_optimizer.count, [rounds] * 2)
    assert [program._cache_size() - before for program, before in zip(programs, compiled, strict=True)] == [1, 1, 1]


def test_every_phase_returns_the_types_of_its_arguments(tiny_config, drones):
    """If a weak type became a strong one, the next phase would be compiled twice."""

    def types(tree):
        return [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(tree)]

    start = jax.eval_shape(lambda: population.create(tiny_config, drones, jnp.asarray(IDS)))
    phases = (
        lambda now: population.collect(tiny_config, now, drones, iterations=WARMUP)[0],
        lambda now: population.train(tiny_config, now, drones, iterations=ITERATIONS)[0],
    )
    for phase in phases:
        assert types(jax.eval_shape(phase, start)) == types(start)


@pytest.mark.usefixtures("compiled_anew")
@pytest.mark.parametrize("phase", ["collect", "train"])
def test_the_replay_is_written_in_place_and_never_copied(tiny_config, drones, phase):
    program = getattr(population, phase)
    before = population.create(tiny_config, drones, jnp.asarray(IDS))
    # A copy at any step would be a temporary of the replay's size.
    memory = program.lower(tiny_config, before, drones, iterations=ITERATIONS).compile().memory_analysis()
    assert memory.temp_size_in_bytes < before.replay.rows.nbytes / 10
    buffer = before.replay.rows.unsafe_buffer_pointer()
    after, _ = program(tiny_config, before, drones, iterations=ITERATIONS)
    assert before.replay.rows.is_deleted()
    assert after.replay.rows.unsafe_buffer_pointer() == buffer


def test_no_two_arrays_of_a_population_share_a_buffer(tiny_config, drones):
    fresh = population.create(tiny_config, drones, jnp.asarray(IDS))
    arrays = jax.tree.leaves(fresh.replace(keys=jax.random.key_data(fresh.keys)))
    assert len({array.unsafe_buffer_pointer() for array in arrays}) == len(arrays)


def test_losses_are_reported_for_every_teacher(tiny_config, drones):
    before = untrained(tiny_config, drones)
    after, metrics = population.train(tiny_config, before, drones, iterations=ITERATIONS)
    for name in ("critic_loss", "actor_loss", "alpha", "q_value"):
        values = getattr(metrics, name)
        assert values.shape == (len(IDS),)
        assert np.all(np.isfinite(values))
    np.testing.assert_allclose(metrics.alpha, np.exp(after.teachers.log_alpha), rtol=1e-6)


def test_nothing_to_report_is_nan(tiny_config, drones):
    fresh = population.create(tiny_config, drones, jnp.asarray(IDS))
    _, metrics = population.collect(tiny_config, fresh, drones, iterations=WARMUP)
    assert tiny_config.environment.episode_steps > WARMUP
    for name in ("critic_loss", "actor_loss", "alpha", "q_value"):
        assert np.all(np.isnan(getattr(metrics, name)))
    # Starts inside the limits; an episode that ended so early would be a crash.
    assert np.all(np.isnan(metrics.episode_reward) | (metrics.episode_length < WARMUP))


def broken_weights(before: Population, drones: Drone) -> tuple[Population, Drone]:
    bias = before.teachers.actor["params"]["mlp"]["output"]["bias"].at[FAULTY, 0].set(jnp.nan)
    mlp = before.teachers.actor["params"]["mlp"]
    actor = {"params": {"mlp": mlp | {"output": mlp["output"] | {"bias": bias}}}}
    return before.replace(teachers=before.teachers.replace(actor=actor)), drones


def broken_drone(before: Population, drones: Drone) -> tuple[Population, Drone]:
    mass = drones.dynamics.mass.at[FAULTY].set(jnp.nan)
    return before, drones.replace(dynamics=drones.dynamics.replace(mass=mass))


def broken_replay(before: Population, drones: Drone) -> tuple[Population, Drone]:
    rows = before.replay.rows.at[FAULTY].set(jnp.nan)
    return before.replace(replay=before.replay.replace(rows=rows)), drones


@pytest.mark.parametrize("fault", [broken_weights, broken_drone, broken_replay])
def test_a_broken_teacher_is_frozen_and_the_others_are_unchanged(tiny_config, drones, reference, fault):
    start, faulty_drones = fault(untrained(tiny_config, drones), drones)
    before = of(start, [FAULTY])
    now = start
    for _ in range(CHUNKS):
        now, _ = population.train(tiny_config, now, faulty_drones, iterations=ITERATIONS)
        np.testing.assert_array_equal(now.active, [True, False, True])
        after = of(now, [FAULTY])
        for part in ("teachers", "episodes"):
            assert_equal({part: after[part]}, {part: before[part]})
    assert_equal(of(now, OTHERS), rows_of(reference, OTHERS))


def test_a_teacher_that_breaks_later_keeps_what_it_had_learnt(tiny_config, drones):
    learnt = trained(tiny_config, untrained(tiny_config, drones), drones, chunks=1)
    before = of(learnt, [FAULTY])
    start, faulty_drones = broken_drone(learnt, drones)
    now = trained(tiny_config, start, faulty_drones, chunks=1)
    assert_equal({"teachers": of(now, [FAULTY])["teachers"]}, {"teachers": before["teachers"]})
    # Its drone and its experience are repaired, but a frozen teacher stays frozen.
    repaired = now.replay.replace(rows=jnp.nan_to_num(now.replay.rows))
    now = trained(tiny_config, now.replace(replay=repaired), drones, chunks=1)
    np.testing.assert_array_equal(now.active, [True, False, True])
    assert_equal({"teachers": of(now, [FAULTY])["teachers"]}, {"teachers": before["teachers"]})


def test_healthy_teachers_stay_active(tiny_config, drones):
    assert np.all(trained(tiny_config, untrained(tiny_config, drones), drones).active)
