"""What `benchmarks.gpu_program` reads in a compiled text, and a small program compiled for an absent GPU."""

import json

import jax
import numpy as np
import pytest

from benchmarks import gpu_cards, gpu_program_rows, hlo
from raptor_jax import config as configs
from raptor_jax.population import sharding
from raptor_jax.population.schedule import Schedule
from tests.benchmarks.processes import TINY, output, refusal

TEXT = """HloModule jit_train, is_scheduled=true

%fused_store (p0: f32[5,4,8], p1: f32[4,8], p2: s32[]) -> f32[5,4,8] {
  %p0 = f32[5,4,8]{2,1,0} parameter(0)
  %p1 = f32[4,8]{1,0} parameter(1)
  %half = f32[] constant(0.5)
  %halves = f32[4,8]{1,0} broadcast(%half), dimensions={}
  %scaled = f32[4,8]{1,0} multiply(%p1, %halves)
  %slice = f32[1,4,8]{2,1,0} bitcast(%scaled)
  %p2 = s32[] parameter(2)
  %zero = s32[] constant(0)
  ROOT %stored = f32[5,4,8]{2,1,0} dynamic-update-slice(%p0, %slice, %p2, %zero, %zero)
}

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}

%fused_read_and_sum (q0: f32[5,4,8], q1: s32[]) -> f32[4] {
  %q0 = f32[5,4,8]{2,1,0} parameter(0)
  %q1 = s32[] parameter(1)
  %zero.1 = s32[] constant(0)
  %read = f32[1,4,8]{2,1,0} dynamic-slice(%q0, %q1, %zero.1, %zero.1), dynamic_slice_sizes={1,4,8}
  %row = f32[4,8]{1,0} bitcast(%read)
  %nothing = f32[] constant(0)
  ROOT %reduced = f32[4]{0} reduce(%row, %nothing), dimensions={1}, to_apply=%sum
}

%product (x: f32[4,16], w: f32[16,8]) -> f32[4,8] {
  %x = f32[4,16]{1,0} parameter(0)
  %w = f32[16,8]{1,0} parameter(1)
  ROOT %dot = f32[4,8]{1,0} dot(%x, %w), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

%command_buffer (x.1: f32[4,16], w.1: f32[16,8]) -> f32[4,8] {
  %x.1 = f32[4,16]{1,0} parameter(0)
  %w.1 = f32[16,8]{1,0} parameter(1)
  ROOT %gemm = f32[4,8]{1,0} fusion(%x.1, %w.1), kind=kCustom, calls=%product
}

%step (now: (s32[], f32[5,4,8], f32[4,8], /*index=3*/f32[4])) -> (s32[], f32[5,4,8], f32[4,8], f32[4]) {
  %now = (s32[], f32[5,4,8]{2,1,0}, f32[4,8]{1,0}, /*index=3*/f32[4]{0}) parameter(0)
  %i = s32[] get-tuple-element(%now), index=0
  %stack = f32[5,4,8]{2,1,0} get-tuple-element(%now), index=1
  %value = f32[4,8]{1,0} get-tuple-element(%now), index=2
  %store = f32[5,4,8]{2,1,0} fusion(%stack, %value, %i), kind=kLoop, calls=%fused_store
  %summed = f32[4]{0} fusion(%stack, %i), kind=kInput, calls=%fused_read_and_sum
  %one = s32[] constant(1)
  %next = s32[] add(%i, %one)
  ROOT %after = (s32[], f32[5,4,8]{2,1,0}, f32[4,8]{1,0}, /*index=3*/f32[4]{0}) tuple(%next, %store, %value, %summed)
}

%more_steps (then: (s32[], f32[5,4,8], f32[4,8], /*index=3*/f32[4])) -> pred[] {
  %then = (s32[], f32[5,4,8]{2,1,0}, f32[4,8]{1,0}, /*index=3*/f32[4]{0}) parameter(0)
  %i.1 = s32[] get-tuple-element(%then), index=0
  %five = s32[] constant(5)
  ROOT %less = pred[] compare(%i.1, %five), direction=LT
}

%update (carried: (f32[4,16], f32[16,8])) -> (f32[4,16], f32[16,8]) {
  %carried = (f32[4,16]{1,0}, f32[16,8]{1,0}) parameter(0)
  %in = f32[4,16]{1,0} get-tuple-element(%carried), index=0
  %weights = f32[16,8]{1,0} get-tuple-element(%carried), index=1
  %called = f32[4,8]{1,0} call(%in, %weights), to_apply=%command_buffer
  %begin = (s32[], f32[5,4,8]{2,1,0}, f32[4,8]{1,0}, /*index=3*/f32[4]{0}) tuple(%in, %in, %called, %in)
  %flown = (s32[], f32[5,4,8]{2,1,0}, f32[4,8]{1,0}, /*index=3*/f32[4]{0}) while(%begin), condition=%more_steps, \
body=%step, metadata={op_name="jit(train)/while/body/transpose(jvp())/while"}
  ROOT %result = (f32[4,16]{1,0}, f32[16,8]{1,0}) tuple(%in, %weights)
}

%more_updates (some: (f32[4,16], f32[16,8])) -> pred[] {
  %some = (f32[4,16]{1,0}, f32[16,8]{1,0}) parameter(0)
  ROOT %yes = pred[] constant(true)
}

ENTRY %main (arg: f32[4,16], arg.1: f32[16,8]) -> (f32[4,16], f32[16,8]) {
  %arg = f32[4,16]{1,0} parameter(0)
  %arg.1 = f32[16,8]{1,0} parameter(1)
  %copied = f32[4,16]{1,0} copy(%arg)
  %start = (f32[4,16]{1,0}, f32[4,16]{1,0}, u32[]) copy-start(%arg)
  %done = f32[4,16]{1,0} copy-done(%start)
  %product_of_cublas = (f32[4,8]{1,0}, s8[1024]{0}) custom-call(%copied, %arg.1), \
custom_call_target="__cublas$gemm", backend_config={"gemm_backend_config":{"dot_dimension_numbers":\
{"lhs_contracting_dimensions":["1"],"rhs_contracting_dimensions":["0"]}}}
  %first = (f32[4,16]{1,0}, f32[16,8]{1,0}) tuple(%copied, %arg.1)
  ROOT %loop = (f32[4,16]{1,0}, f32[16,8]{1,0}) while(%first), condition=%more_updates, body=%update, \
metadata={op_name="jit(train)/while"}, backend_config={"known_trip_count":{"n":"3"}}
}
""".replace("\\\n", "")


@pytest.fixture(scope="module")
def program() -> hlo.Loop:
    return hlo.read(TEXT)


def by_name(loop: hlo.Loop) -> dict[str, hlo.Kernel]:
    return {kernel.name: kernel for kernel in loop.kernels}


def test_kernels_are_counted_as_often_as_their_loops_turn(program):
    assert set(by_name(program)) == {"copied", "start", "product_of_cublas"}
    (update,) = program.loops
    assert (update.trips, update.known) == (3, True)
    assert set(by_name(update)) == {"gemm"}, "a command buffer is part of its caller"
    (step,) = update.loops
    # Two fusions and an addition, and the comparison: XLA does not know how often this loop turns.
    assert set(by_name(step)) == {"store", "summed", "next", "less"}
    assert (step.trips, step.known) == (5, True), "the condition compares with 5"
    assert update.per_turn(lambda _: 1) == 1 + 5 * 4
    assert program.total(lambda _: 1) == 3 + 3 * 21
    assert list(program.inside()) == [update, step]


def test_kernels_have_kinds_flop_and_bytes(program):
    """Of a stack, only the slice is moved that is read or written."""
    (update,) = program.loops
    found = by_name(program) | by_name(update) | by_name(update.loops[0])
    flop, product, row, number = 2 * 4 * 16 * 8, 4 * (4 * 16 + 16 * 8 + 4 * 8), 4 * 4 * 8, 4
    expected = {
        "copied": ("copy", 0, 0, 2 * 4 * 4 * 16),
        "product_of_cublas": ("product", flop, 0, product + 1024),
        "gemm": ("product", flop, 0, product),
        "store": ("stores in a stack", 0, 4 * 8, row + number + row),
        "summed": ("reduction", 0, 4 * 8, row + number + 4 * 4),
        "next": ("elementwise", 0, 1, 3 * number),
        "less": ("elementwise", 0, 1, 2 * number + 1),
    }
    assert {
        name: (found[name].kind, found[name].product_flop, found[name].other_operations, found[name].bytes)
        for name in expected
    } == expected
    assert program.total(lambda kernel: kernel.product_flop) == flop + 3 * flop


def test_forward_and_backward_steps_of_a_window_are_distinguished(program):
    kernels = gpu_program_rows.kernels_of_steps(program.loops[0], window=5)
    assert kernels == {"kernels_step_forward": 0, "kernels_step_backward": 4}


def test_a_kernel_takes_the_longest_of_launch_bytes_and_arithmetic():
    card = gpu_cards.CARDS["h100"]

    def seconds(product: int = 0, other: int = 0, moved: int = 0) -> float:
        kernel = hlo.Kernel("", "", "", product, other, moved)
        return gpu_program_rows.predicted_seconds(card, "bfloat16", kernel)

    assert seconds(1000, 1000, 1000) == 2.5e-6
    assert seconds(moved=3_352_000_000) == pytest.approx(1e-3)
    assert seconds(product=989_400_000_000) == pytest.approx(1e-3)
    assert seconds(other=66_900_000_000) == pytest.approx(2e-3)


def test_a_run_is_evaluated_before_its_first_chunk_in_between_after_its_last_and_at_its_end():
    config = configs.load("configs/pre_training.yaml")
    plan = Schedule(0, 0, chunk_iterations=10, chunk_steps=16_000, chunk_updates=10, chunks=40)
    # After every fifth chunk.
    assert gpu_program_rows.evaluations(config, plan) == 1 + 8 + 1


@pytest.mark.slow
@pytest.mark.usefixtures("unoptimized")
def test_an_update_is_measured_if_the_device_exists(tmp_path, drones):
    (tmp_path / "tiny.yaml").write_text(TINY)
    config = configs.load(tmp_path / "tiny.yaml")
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:1]), (sharding.TEACHERS,))
    compiled = gpu_program_rows.programs(config, drones, mesh)
    assert compiled.round is not None
    assert 0 < gpu_program_rows.measured(mesh, compiled.round, at_least=0.01) < 10


@pytest.mark.cuda
def test_a_training_is_compiled_for_a_card_that_is_not_there(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    command = ["-m", "benchmarks.gpu_program", "--cards", "h100", "--teachers", 3, "--settings", tmp_path / "tiny.yaml"]
    assert "PREDICTED" in output(*command, "--json", tmp_path / "found.json")
    (row,) = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert (row["card"], row["all_loops_known"], row["fits"]) == ("h100", True, True)
    assert row["kernels_iteration"] == 2 * row["kernels_update"] > 20
    assert row["predicted_run_seconds"] > row["predicted_update_seconds"] > 2.5e-6
    assert "measured_update_seconds" not in row


BRANCH = """
import jax
import jax.numpy as jnp
from benchmarks import gpu_cards
from raptor_jax.population import sharding

def chosen(value):
    return jax.lax.platform_dependent(value, cpu=jnp.sin, default=jnp.cos)

mesh = gpu_cards.mesh(gpu_cards.CARDS["h100"])
print(sharding.platform(mesh), sharding.compile_sharded(mesh, chosen, jnp.ones(3)).as_text())
"""


@pytest.mark.cuda
def test_a_program_for_a_card_takes_the_branch_of_its_platform():
    platform, _, text = output("-c", BRANCH).partition(" ")
    assert platform == "gpu"
    assert " cosine(" in text
    assert " sine(" not in text


def test_the_missing_compiler_is_reported_in_one_line(tmp_path):
    # A finder in front that finds no such module stands for an environment without the extra.
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name.startswith('jax_cuda') else find(name, *rest)\n"
    )
    assert "raptor-jax[cuda12]" in refusal("-m", "benchmarks.gpu_program", PYTHONPATH=str(tmp_path))
