"""Many teachers at once: independent, even of one that diverges; reproducible; and trained in place."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import sac
from raptor_jax.config import Config, build
from raptor_jax.drones.parameters import Drone
from raptor_jax.population import model_free
from raptor_jax.population import sac as population
from raptor_jax.population.sac import Population
from validation.drones import take

# Which teacher has which numbers is tested; that they fly is in tests/training.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

IDS = (7, 3, 5)
"""Identities unlike the positions."""
WARMUP = 4
ITERATIONS = 2
CHUNKS = 3
FAULTY, OTHERS, ALL = 1, [0, 2], [0, 1, 2]


@pytest.fixture(scope="module", params=[0, 7], ids=["model-free", "windows"])
def config(request, tiny_config) -> Config:
    return build(tiny_config.model_dump(), {"sac.horizon": request.param}, "test")


def created(config: Config, drones: Drone, ids: tuple[int, ...] = IDS, **more) -> Population:
    return population.create(config, drones, jnp.asarray(ids), **more)


def untrained(config: Config, drones: Drone, ids: tuple[int, ...] = IDS) -> Population:
    """Returns a population after the steps without learning."""
    fresh = created(config, drones, ids)
    return fresh if config.sac.horizon else population.collect(config, fresh, drones, iterations=WARMUP)[0]


def trained(
    config: Config, start: Population, drones: Drone, chunks: int = CHUNKS, iterations: int = ITERATIONS
) -> Population:
    """Returns a population after some chunks; `start` is used up."""
    for _ in range(chunks):
        start, _ = population.train(config, start, drones, iterations=iterations)
    return start


def of(after: Population, teachers: list[int], *parts: str) -> dict[str, list[np.ndarray]]:
    """Returns what training changes of some teachers, everything by default, as flat lists of NumPy arrays."""
    found = {"teachers": after.teachers, "episodes": after.episodes}
    if after.replay:
        found["replay"] = after.replay.rows[:, : int(after.replay.filled)]
    return {name: [np.array(leaf)[teachers] for leaf in jax.tree.leaves(found[name])] for name in parts or found}


def assert_equal(a, b) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def reference(config, drones) -> Population:
    """The three teachers after a few chunks."""
    return trained(config, untrained(config, drones), drones)


def test_training_changes_every_teacher_and_makes_them_different(config, drones, reference):
    before, after = of(untrained(config, drones), ALL), of(reference, ALL)
    for old, new in zip(before["teachers"], after["teachers"], strict=True):
        assert np.all(np.any((old != new).reshape(len(IDS), -1), axis=1))
        if np.issubdtype(new.dtype, np.floating):
            assert np.any(new[0] != new[1])
            assert np.any(new[1] != new[2])
    assert np.all(reference.active)


def test_the_same_run_twice_is_the_same(config, drones, reference):
    assert_equal(of(trained(config, untrained(config, drones), drones), ALL), of(reference, ALL))


def test_two_chunks_equal_one_of_twice_the_length(tiny_config, drones):
    halves, whole = (
        trained(tiny_config, untrained(tiny_config, drones), drones, chunks, iterations)
        for chunks, iterations in ((2, ITERATIONS), (1, 2 * ITERATIONS))
    )
    assert_equal(of(halves, ALL), of(whole, ALL))
    assert (halves.flown, halves.updates) == (whole.flown, whole.updates)


def test_a_teacher_alone_is_the_same_as_among_others(config, drones, reference):
    for row, identity in enumerate(IDS):
        own = take(drones, [row])
        alone = trained(config, untrained(config, own, (identity,)), own)
        # With another number of teachers the order of sums may differ: allows for rounding, amplified by a few updates.
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), of(alone, [0]), of(reference, [row])
        )


def test_identities_seeds_and_attempts_draw_differently(config, drones):
    seeded = build(config.model_dump(), {"training.seed": 1}, "test")
    draws = [created(config, drones), created(config, drones, (1, 2, 4)), created(config, drones, attempt=1)]
    for first, second in itertools.combinations([*draws, created(seeded, drones)], 2):
        assert np.all(first.episodes.observation[..., -1] != second.episodes.observation[..., -1])
        assert np.all(jax.random.key_data(first.keys) != jax.random.key_data(second.keys))
        kernels = (one.teachers.actor["params"]["mlp"]["hidden_0"]["kernel"] for one in (first, second))
        assert np.all(np.any(np.not_equal(*kernels), axis=(1, 2)))


def test_every_teacher_begins_with_the_start(config, drones):
    start = sac.create(config.sac, jax.random.key(9)).actor
    now = population.create(config, drones, jnp.asarray(IDS), warm_start=start)
    jax.tree.map(lambda leaf, one: np.testing.assert_array_equal(leaf, [one] * 3), now.teachers.actor, start)


def test_metrics_are_reported_for_every_teacher(config, drones):
    after, metrics = population.train(config, untrained(config, drones), drones, iterations=ITERATIONS)
    for name, values in vars(metrics).items():
        assert values.shape == (len(IDS),)
        assert np.all(np.isfinite(values)), name
    np.testing.assert_allclose(metrics.alpha, np.exp(after.teachers.log_alpha), rtol=1e-6)
    assert np.all(metrics.episode_reward <= config.environment.episode_steps)
    assert np.all(metrics.episode_length <= config.environment.episode_steps)


def test_nothing_to_report_is_nan(tiny_config, drones):
    _, metrics = population.collect(tiny_config, created(tiny_config, drones), drones, iterations=WARMUP)
    assert tiny_config.environment.episode_steps > WARMUP
    for name in ("critic_loss", "actor_loss", "alpha", "q_value"):
        assert np.all(np.isnan(getattr(metrics, name)))
    # Starts inside the limits; an episode that ended so early would be a crash.
    assert np.all(np.isnan(metrics.episode_reward) | (metrics.episode_length < WARMUP))


def broken_weights(before: Population, drones: Drone) -> tuple[Population, Drone]:
    mlp = before.teachers.actor["params"]["mlp"]
    bias = mlp["output"]["bias"].at[FAULTY, 0].set(jnp.nan)
    actor = {"params": {"mlp": mlp | {"output": mlp["output"] | {"bias": bias}}}}
    return before.replace(teachers=before.teachers.replace(actor=actor)), drones


def broken_drone(before: Population, drones: Drone) -> tuple[Population, Drone]:
    mass = drones.dynamics.mass.at[FAULTY].set(jnp.nan)
    return before, drones.replace(dynamics=drones.dynamics.replace(mass=mass))


def broken_replay(before: Population, drones: Drone) -> tuple[Population, Drone]:
    rows = before.replay.rows.at[FAULTY].set(jnp.nan)
    return before.replace(replay=before.replay.replace(rows=rows)), drones


# Windows have no replay.
@pytest.mark.parametrize(
    ("config", "fault"),
    [(0, broken_weights), (0, broken_drone), (0, broken_replay), (7, broken_weights), (7, broken_drone)],
    indirect=["config"],
)
def test_a_broken_teacher_is_frozen_and_the_others_are_unchanged(config, drones, reference, fault):
    now, faulty_drones = fault(untrained(config, drones), drones)
    before = of(now, [FAULTY], "teachers", "episodes")
    for _ in range(CHUNKS):
        now = trained(config, now, faulty_drones, chunks=1)
        np.testing.assert_array_equal(now.active, [True, False, True])
        assert_equal(of(now, [FAULTY], "teachers", "episodes"), before)
    assert_equal(of(now, OTHERS), of(reference, OTHERS))


def test_a_teacher_that_breaks_later_keeps_what_it_had_learnt(tiny_config, drones):
    learnt = trained(tiny_config, untrained(tiny_config, drones), drones, chunks=1)
    before = of(learnt, [FAULTY], "teachers")
    start, faulty_drones = broken_drone(learnt, drones)
    now = trained(tiny_config, start, faulty_drones, chunks=1)
    assert_equal(of(now, [FAULTY], "teachers"), before)
    # Its drone and its experience are repaired, but a frozen teacher stays frozen.
    repaired = now.replay.replace(rows=jnp.nan_to_num(now.replay.rows))
    now = trained(tiny_config, now.replace(replay=repaired), drones, chunks=1)
    np.testing.assert_array_equal(now.active, [True, False, True])
    assert_equal(of(now, [FAULTY], "teachers"), before)


@pytest.mark.parametrize(
    ("environments", "steps_per_update", "interval", "capacity"), [(2, 1, 2, 1000), (1, 3, 1, 1000), (3, 2, 3, 30)]
)
def test_steps_and_updates_are_counted_and_each_phase_compiles_once(
    tiny_config, drones, environments, steps_per_update, interval, capacity
):
    settings = {
        "environment.environments_per_teacher": environments,
        "sac.steps_per_update": steps_per_update,
        "sac.actor_update_interval": interval,
        "sac.replay_capacity": capacity,
    }
    config = build(tiny_config.model_dump(), settings, "test")
    programs = (population.create, population.collect, population.train)
    compiled = [program._cache_size() for program in programs]
    now = created(config, drones)
    for _ in range(2):
        now, _ = population.collect(config, now, drones, iterations=WARMUP)
    now = trained(config, now, drones)
    rounds = ITERATIONS * CHUNKS
    assert now.updates == rounds * interval
    assert now.flown == 2 * WARMUP + rounds * interval * steps_per_update
    steps = environments * int(now.flown)
    assert steps == environments * 2 * WARMUP + rounds * model_free.steps_per_iteration(config)
    assert now.replay.filled == min(steps, capacity)
    assert now.replay.cursor == steps % now.replay.rows.shape[1]
    assert now.teachers.critic_optimizer.count.tolist() == [rounds * interval] * 3
    assert now.teachers.actor_optimizer.count.tolist() == [rounds] * 3
    assert [program._cache_size() - before for program, before in zip(programs, compiled, strict=True)] == [1, 1, 1]


@pytest.mark.parametrize("config", [7], indirect=True)
def test_updates_through_windows_are_counted_and_compile_once(config, drones, reference):
    compiled = population.train._cache_size()
    assert trained(config, created(config, drones), drones).updates == reference.updates == CHUNKS * ITERATIONS
    assert population.train._cache_size() == compiled


def test_every_phase_returns_the_types_of_its_arguments(tiny_config, drones):
    """If a weak type became a strong one, the next phase would be compiled twice."""

    def types(tree):
        return [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in jax.tree.leaves(tree)]

    start = jax.eval_shape(lambda: created(tiny_config, drones))
    for phase in population.collect, population.train:
        after, _ = jax.eval_shape(lambda now, phase=phase: phase(tiny_config, now, drones, iterations=2), start)
        assert types(after) == types(start)


@pytest.mark.usefixtures("compiled_anew")
@pytest.mark.parametrize("phase", ["collect", "train"])
def test_the_replay_is_written_in_place_and_never_copied(tiny_config, drones, phase):
    program = getattr(population, phase)
    before = created(tiny_config, drones)
    # A copy at any step would be a temporary of the replay's size.
    memory = program.lower(tiny_config, before, drones, iterations=ITERATIONS).compile().memory_analysis()
    assert memory.temp_size_in_bytes < before.replay.rows.nbytes / 10
    buffer = before.replay.rows.unsafe_buffer_pointer()
    after, _ = program(tiny_config, before, drones, iterations=ITERATIONS)
    assert before.replay.rows.is_deleted()
    assert after.replay.rows.unsafe_buffer_pointer() == buffer


def test_no_two_arrays_of_a_population_share_a_buffer(config, drones):
    fresh = created(config, drones)
    arrays = jax.tree.leaves(fresh.replace(keys=jax.random.key_data(fresh.keys)))
    assert len({array.unsafe_buffer_pointer() for array in arrays}) == len(arrays)
