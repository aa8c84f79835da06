"""The rows of `benchmarks.throughput`: one function for the simulator, one for a population in training."""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import psutil
from jax.sharding import Mesh

from benchmarks.limits import seconds_per_call
from benchmarks.rltools import update_gflop
from raptor_jax import config as configs
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone, stack, without_idle_noise
from raptor_jax.drones.sampling import sample_drone
from raptor_jax.drones.tasks import for_training
from raptor_jax.errors import first_line
from raptor_jax.population import best, blocks, memory, sharding
from raptor_jax.population import sac as populations
from raptor_jax.population.state import Population
from raptor_jax.runs import warm_start
from raptor_jax.sac import replay
from raptor_jax.simulator import ACTION_DIM, episode
from raptor_jax.simulator.episode import Episode
from raptor_jax.training import rounds
from raptor_jax.training.rounds import Round
from raptor_jax.utils.console import readable_bytes
from raptor_jax.utils.trees import take, tree_bytes

TURNS = 3
SIMULATOR_STEPS = 100
"""Steps of every environment in a call of the simulator."""
UPDATES_ON_A_PROCESSOR = 20
"""Updates in a call, where a run's own calls may take half an hour."""

Limits = dict[str, Any]
"""What `benchmarks.limits.measure` returns."""


class Prepared(NamedTuple):
    """A round, ready to be timed."""

    round: Round
    table: memory.MemoryTable
    """What each device will hold."""
    compile_seconds: float


def simulator_row(options: argparse.Namespace, limits: Limits, count: int) -> dict[str, Any]:
    """Returns how fast random actions are flown, with fresh starts, on drones and task of the first setting."""
    config, mesh = configs.load(options.configs[0]), sharding.mesh()
    rows = blocks.filled_up(np.arange(count), mesh, block=1)
    drones, ids = sharding.shard(mesh, (sampled(config, rows), rows))

    def begin(drones: Drone, ids: jax.Array) -> tuple[Episode, jax.Array]:
        keys = jax.vmap(lambda number: jax.random.split(jax.random.key(number), options.environments))(ids)
        return jax.vmap(jax.vmap(episode.start, (None, 0)))(drones, keys), keys

    def one(drone: Drone, now: Episode, key: jax.Array) -> tuple[Episode, jax.Array]:
        following_key, action_key, step_key = jax.random.split(key, 3)
        action = jax.random.uniform(action_key, (ACTION_DIM,), minval=-1.0)
        following, _ = episode.advance_or_restart(drone, now, action, config.environment.episode_steps, step_key)
        return following, following_key

    def fly(flown: tuple[Episode, jax.Array], drones: Drone) -> tuple[Episode, jax.Array]:
        step = jax.vmap(jax.vmap(one, (None, 0, 0)))
        return jax.lax.scan(lambda now, _: (step(drones, *now), None), flown, length=SIMULATOR_STEPS)[0]

    flown = sharding.compile_sharded(mesh, begin, drones, ids)(drones, ids)
    began = time.perf_counter()
    program = sharding.compile_sharded(mesh, fly, flown, drones, donate=True)
    compile_seconds = time.perf_counter() - began

    def call() -> Any:
        nonlocal flown
        flown = program(flown, drones)
        return flown

    environments = rows.size * options.environments
    timing = turns(call, options, f"simulator_{count}")
    rate = environments * SIMULATOR_STEPS / statistics.median(timing["seconds_per_call"])
    gigabytes = 2e-9 * tree_bytes(flown[0]) / environments
    return {
        "setting": f"simulator, {options.environments} environments each",
        "teachers": count,
        "steps_per_second": rate,
        "of_bandwidth": rate * gigabytes / (limits["bandwidth_gbs"] * mesh.size),
        "compile_seconds": compile_seconds,
        **timing,
    }


def training_row(
    options: argparse.Namespace, limits: Limits, setting: str, precision: str, teachers: int
) -> dict[str, Any]:
    """Returns speed, memory and compile time of one population; of one that does not fit, only that it does not."""
    row = {"setting": Path(setting).stem, "precision": precision, "teachers": teachers}
    config = configs.load(setting, {"sac.matmul_precision": precision})
    on_processor = sharding.platform(sharding.mesh()) == "cpu"
    config = in_shorter_calls(config, options.chunk_updates or (UPDATES_ON_A_PROCESSOR if on_processor else None))
    try:
        return row | _train(options, limits, config, row)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return row | {"note": f"out of memory: {first_line(error)}"}


def _train(options: argparse.Namespace, limits: Limits, config: Config, row: dict[str, Any]) -> dict[str, Any]:
    available = memory.available_bytes(jax.local_devices()[0])
    if options.memory_gib:
        available = min(available, int(options.memory_gib * 2**30))
    mesh, teachers = sharding.mesh(), row["teachers"]
    now, table, compile_seconds = fitting(mesh, config, teachers, available)
    if table.total > available:
        needed, free = map(readable_bytes, (table.total, available))
        return {"note": f"does not fit: needs {needed}, free are {free}"}
    before = reset_peak()
    population, timing = timed_chunks(options, mesh, now, f"{row['setting']}_{row['precision']}_{teachers}")
    rate = now.plan.chunk_updates * teachers / statistics.median(timing["seconds_per_call"])
    found = {
        "updates_per_second": rate,
        "steps_per_second": rate * now.plan.chunk_steps / now.plan.chunk_updates,
        "updates_of_a_run": now.plan.chunks * now.plan.chunk_updates,
        "updates_per_call": now.plan.chunk_updates,
        **timing,
        "compile_seconds": compile_seconds,
        "learner_kib": table.learner / (now.teacher_ids.size // mesh.size) / 2**10,
        "temporaries_mib": table.temporaries / 2**20,
        "planned_bytes": table._asdict(),
        "note": "; ".join(_notes(config, now, population)),
    }
    if config.sac.horizon == 0:
        teacher_bytes = tree_bytes(population.teachers) / now.teacher_ids.size
        found |= of_limits(limits, config, rate / mesh.size, teacher_bytes, row["precision"])
    if peak := _peak_bytes(before):
        found["peak_of_planned"] = peak / table.total
    return found


def fitting(mesh: Mesh, config: Config, teachers: int, available: int) -> Prepared:
    """Returns a round with the replay of the settings, or the largest one that fits a device's available bytes.

    Where none fits, it has that of the settings.
    """
    found = prepared(mesh, config, teachers)
    if found.table.total <= available:
        return found
    share = found.round.teacher_ids.size // mesh.size
    capacity = memory.fitting_capacity(found.table, config, share, found.round.block, available)
    if not capacity:
        return found
    smaller = config.sac.model_copy(update={"replay_capacity": capacity})
    return prepared(mesh, config.model_copy(update={"sac": smaller}), teachers)


def timed_chunks(options: argparse.Namespace, mesh: Mesh, now: Round, name: str) -> tuple[Population, dict[str, Any]]:
    """Returns a population after the chunks that were timed, and what `turns` says of them."""
    population = now.create()
    if now.programs.warm_up:
        population, _ = now.collect(population)
        population = with_full_replay(mesh, now, population)
    # A run evaluates in between, and its memory may peak there.
    sharding.gather(now.programs.select(population.teachers.actor, now.drones))

    def call() -> None:
        nonlocal population
        population, metrics = now.train(population)
        sharding.gather(vars(metrics))

    timing = turns(call, options, name)
    return population, timing


def _notes(config: Config, now: Round, population: Population) -> list[str]:
    """Returns what a reader of a row must know: a replay other than that of the settings, and non-finite teachers."""
    notes, capacity = [], now.config.sac.replay_capacity
    if capacity != config.sac.replay_capacity:
        notes.append(f"replay of {capacity:,} instead of {config.sac.replay_capacity:,}: the largest that fits")
    if broken := now.rows.size - int(np.sum(now.of_real_teachers(population.active))):
        notes.append(f"numbers of {broken} became non-finite")
    return notes


def _peak_bytes(before: int | None) -> int | None:
    """Returns the most that a device, or this process beyond `before` bytes, held; None where neither is known."""
    if measured := jax.local_devices()[0].memory_stats():
        return int(measured["peak_bytes_in_use"])
    return None if before is None else peak_of_process() - before


def of_limits(limits: Limits, config: Config, rate: float, teacher_bytes: float, precision: str) -> dict[str, Any]:
    """Returns how far from a device's limits SAC is at a rate, in updates/s of a device, of teachers of that size."""
    gflops = rate * update_gflop(config, targets=1)
    return {
        "gflops": gflops * jax.device_count(),
        "of_gemm_peak": gflops / limits["gemm_gflops"][precision],
        "of_bandwidth": rate * 2e-9 * teacher_bytes / limits["bandwidth_gbs"],
        "transition_bytes": replay.row_bytes(config.sac),
    }


def reset_peak() -> int | None:
    """Returns what this process holds now, and lets its peak begin there; None where only Linux could tell."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return psutil.Process().memory_info().rss


def peak_of_process() -> int:
    """Returns the most that this process held since its peak was reset, bytes."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def sampled(config: Config, rows: np.ndarray) -> Drone:
    """Returns the drones of these numbers, every array [R, ...]."""
    drones = (for_training(sample_drone(config.sampling, int(i))[0], config.environment, f"drone {i}") for i in rows)
    return without_idle_noise(stack(list(drones)))


def in_shorter_calls(config: Config, updates: int | None) -> Config:
    """Returns settings of a run that makes at most so many updates in a call."""
    plan = populations.schedule(config)
    if updates is None or updates >= plan.chunk_updates:
        return config
    steps = updates * plan.chunk_steps // plan.chunk_updates
    return config.model_copy(update={"training": config.training.model_copy(update={"log_frequency": steps})})


def prepared(mesh: Mesh, config: Config, teachers: int) -> Prepared:
    """Compiles a round of so many sampled drones."""
    rows, start = np.arange(teachers), warm_start.load(config)
    drones = sampled(config, rows)
    began = time.perf_counter()
    everyone = rounds.all_teachers(mesh, config, drones, rows, start)
    now = rounds.prepare(everyone, 0, rows)
    compile_seconds = time.perf_counter() - began
    kept = jax.eval_shape(best.create, everyone.one.teachers)
    of_device = now.teacher_ids.size // mesh.size
    table = memory.plan(config, take(drones, slice(1)), everyone.one, kept, of_device, now.block)
    temporaries = max(table.temporaries, now.programs.temporary_bytes)
    return Prepared(now, table._replace(temporaries=temporaries), compile_seconds)


def with_full_replay(mesh: Mesh, now: Round, population: Any) -> Any:
    """Returns a population whose replay holds what was collected over and over: its draws then come from all of it."""
    collected, capacity = now.plan.warmup_steps, population.replay.rows.shape[1]
    copies = capacity // collected
    if copies < 2:
        return population

    def fill(population: Any) -> Any:
        rows = population.replay.rows
        first, end = rows[:, :collected], jnp.int32(copies * collected)

        def copy(number: jax.Array, rows: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_slice_in_dim(rows, first, number * collected, axis=1)

        rows = jax.lax.fori_loop(1, copies, copy, rows)
        return population.replace(replay=population.replay.replace(rows=rows, filled=end, cursor=end % capacity))

    return sharding.compile_sharded(mesh, fill, population, donate=True)(population)


def turns(call: Callable[[], Any], options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Returns the seconds of a warm call in each turn, and how many processors this took of those that it might.

    Afterwards it writes a profile of a call, if that is asked for.
    """
    jax.block_until_ready(call())
    began = time.perf_counter(), time.process_time()
    seconds = [seconds_per_call(call, options.seconds) for _ in range(TURNS)]
    processors = (time.process_time() - began[1]) / (time.perf_counter() - began[0])
    if options.profile:
        with jax.profiler.trace(str(options.profile / name)):
            jax.block_until_ready(call())
    return {"seconds_per_call": seconds, "processors_busy": processors}
