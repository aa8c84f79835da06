"""The rows of `benchmarks.gpu_program`: what a training's compiled programs do on a card, and how long they take."""

import itertools
from collections import Counter
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from benchmarks import gpu_cards, hlo
from benchmarks.gpu_cards import Card
from benchmarks.limits import seconds_per_call
from benchmarks.throughput_rows import sampled, with_full_replay
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.population import sac as populations
from raptor_jax.population import sharding
from raptor_jax.population.schedule import Schedule, is_due
from raptor_jax.runs import warm_start
from raptor_jax.training import rounds
from raptor_jax.training.rounds import Programs, Round

LAUNCH_SECONDS = 2.5e-6
"""From the start of one small kernel to that of the next."""

MEMORY_SHARE = 0.92
"""Of a card's memory, what `raptor-jax train` takes."""


class Compiled(NamedTuple):
    """The programs of a training, and what a reader of their text must know of it."""

    programs: Programs
    plan: Schedule
    window: int
    """Steps that an update flies in each of its environments and differentiates; 0 where it differentiates none."""
    round: Round | None
    """The same programs with their drones, where the devices are there."""


def programs(config: Config, drones: Drone, mesh: Mesh) -> Compiled:
    """Returns the compiled programs of a training; all that the benchmark knows of the trainer is here.

    Args:
        config: settings.
        drones: every array [T, ...], or its shape where the devices are not there.
        mesh: the devices.
    """
    teachers = jax.tree.leaves(drones)[0].shape[0]
    plan, window = populations.schedule(config), config.sac.horizon
    start = warm_start.load(config)
    if isinstance(drones.dynamics.mass, jax.ShapeDtypeStruct):
        shape = jax.ShapeDtypeStruct((teachers,), np.int32)
        return Compiled(rounds.compiled(mesh, config, drones, shape, start, block=teachers), plan, window, None)
    ids = np.arange(teachers)
    now = rounds.prepare(rounds.all_teachers(mesh, config, drones, ids, start), 0, ids)
    return Compiled(now.programs, plan, window, now)


def row(config: Config, setting: str, card_name: str, teachers: int) -> tuple[dict[str, Any], Compiled]:
    """Returns one row, and the programs that it describes."""
    card = gpu_cards.CARDS[card_name]
    mesh = gpu_cards.mesh(card)
    if gpu_cards.present(card):
        drones = sampled(config, np.arange(teachers))
    else:
        drones = jax.tree.map(lambda leaf: _shape(teachers, leaf), sampled(config, np.arange(1)))
    compiled = programs(config, drones, mesh)
    found = {"setting": setting, "card": card_name, "teachers": teachers}
    found |= counted(config, card, compiled) | memory(card, compiled.programs.train.run)
    if compiled.round and found["fits"]:
        found["measured_update_seconds"] = measured(mesh, compiled.round)
    return found, compiled


def _shape(teachers: int, leaf: np.ndarray) -> jax.ShapeDtypeStruct:
    """Returns the shape of the arrays of so many teachers on a device, of which `leaf` [1, ...] is one on the host."""
    return jax.ShapeDtypeStruct((teachers, *leaf.shape[1:]), jax.dtypes.canonicalize_dtype(leaf.dtype))


def counted(config: Config, card: Card, compiled: Compiled) -> dict[str, Any]:
    """Returns kernels, FLOP and bytes of the programs, and the times that follow from them by the model."""
    plan, precision = compiled.plan, config.sac.matmul_precision
    train = _read(compiled.programs.train.run)
    iteration = max(train.loops, key=lambda loop: loop.total(_launches), default=train)
    updates = plan.chunk_updates / plan.chunk_iterations

    def seconds(kernel: hlo.Kernel) -> float:
        return predicted_seconds(card, precision, kernel)

    def of_program(program: jax.stages.Compiled | None) -> float:
        return _read(program).total(seconds) if program else 0.0

    select = of_program(compiled.programs.select.run)
    return {
        **kernels_of_steps(iteration, compiled.window),
        "kernels_iteration": iteration.per_turn(_launches),
        "kernels_update": iteration.per_turn(_launches) / updates,
        "update_product_flop": iteration.per_turn(lambda kernel: kernel.product_flop) / updates,
        "update_other_operations": iteration.per_turn(lambda kernel: kernel.other_operations) / updates,
        "update_bytes": iteration.per_turn(lambda kernel: kernel.bytes) / updates,
        "predicted_update_seconds": iteration.per_turn(seconds) / updates,
        "predicted_launch_seconds": LAUNCH_SECONDS * iteration.per_turn(_launches) / updates,
        "predicted_evaluation_seconds": select,
        "predicted_run_seconds": of_program(compiled.programs.warm_up)
        + plan.chunks * train.total(seconds)
        + evaluations(config, plan) * select,
        "loops": [_described(loop) for loop in (iteration, *iteration.inside())],
        "all_loops_known": all(loop.known for loop in train.inside()),
    }


def kernels_of_steps(iteration: hlo.Loop, window: int) -> dict[str, float]:
    """Returns the kernels of a simulated step: of loops that fly, and of those that carry gradients back."""
    if not window:
        return {}
    # The loops of the critics' targets and updates are differentiated by none.
    flights = [loop for loop in iteration.loops if "jvp(" in loop.op_name]
    backward = sum(loop.total(_launches) for loop in flights if _goes_back(loop))
    forward = sum(loop.total(_launches) for loop in flights if not _goes_back(loop))
    return {"kernels_step_forward": forward / window, "kernels_step_backward": backward / window}


def predicted_seconds(card: Card, precision: str, kernel: hlo.Kernel) -> float:
    """Returns how long a kernel takes: the longest of its launch, its bytes and its arithmetic.

    A product runs at the card's rate for it. Other arithmetic runs at half the float32 rate, which takes an addition
    and a multiplication as one. Caches, and more than one kernel at a time, are left out.
    """
    arithmetic = kernel.product_flop / card.flops[precision] + 2 * kernel.other_operations / card.flops["float32"]
    return max(LAUNCH_SECONDS, kernel.bytes / card.bandwidth, arithmetic)


def evaluations(config: Config, plan: Schedule) -> int:
    """Returns the evaluations of a main round, the final one among them: about as long, with 100 episodes for 64."""
    steps = [plan.warmup_steps + chunk * plan.chunk_steps for chunk in range(plan.chunks + 1)]
    between = sum(is_due(*pair, config.training.eval_frequency) for pair in itertools.pairwise(steps[:-1]))
    before_the_first_chunk, after_the_last, final = 1, 1, 1
    return before_the_first_chunk + between + after_the_last + final


def memory(card: Card, train: jax.stages.Compiled) -> dict[str, Any]:
    """Returns what the program that trains needs, and whether the card has it."""
    analysis = train.memory_analysis()
    assert analysis is not None
    held = analysis.argument_size_in_bytes
    # What is returned takes the place of what was given, but for the report.
    beside = analysis.temp_size_in_bytes + analysis.output_size_in_bytes - analysis.alias_size_in_bytes
    return {
        "argument_bytes": held,
        "temporary_bytes": analysis.temp_size_in_bytes,
        "fits": bool(held + beside <= MEMORY_SHARE * card.memory),
    }


def measured(mesh: Mesh, now: Round, at_least: float = 2) -> float:
    """Returns the seconds of an update, measured in calls as a run makes them, from a full replay, for so long."""
    population = now.create()
    if now.programs.warm_up:
        population, _ = now.collect(population)
        population = with_full_replay(mesh, now, population)

    def call() -> None:
        nonlocal population
        population, metrics = now.train(population)
        sharding.gather(vars(metrics))

    call()
    return seconds_per_call(call, at_least) / now.plan.chunk_updates


def _read(program: jax.stages.Compiled) -> hlo.Loop:
    text = program.as_text()
    assert text is not None
    return hlo.read(text)


def _goes_back(loop: hlo.Loop) -> bool:
    return "transpose(" in loop.op_name


def _launches(_: hlo.Kernel) -> float:
    return 1


def _described(loop: hlo.Loop) -> dict[str, Any]:
    return {
        "name": loop.op_name,
        "turns": loop.trips,
        "turns_known": loop.known,
        "kernels": len(loop.kernels),
        "kinds": dict(Counter(kernel.kind for kernel in loop.kernels).most_common()),
        "bytes": sum(kernel.bytes for kernel in loop.kernels),
    }
