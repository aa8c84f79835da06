"""Workarounds and options for XLA's compiler. The workarounds are for the CPU; they are off on accelerators.

XLA:CPU recomputes common subexpressions of several outputs for each of them: the gradient of a step on scalars grew
from 8 000 to 79 000 operations and took minutes to compile. It also launches a kernel for each output: about 600 for a
simulated step and its gradient, 0.1 us each, which dominates the arithmetic for few environments. Two remedies:

- A function decorated with `kept_together` is a call that XLA neither inlines nor splits, so it becomes one kernel. Its
  gradient is one kernel too, which recomputes the intermediate values from the arguments. The function must not contain
  reductions or matrix products: for large ones, XLA:CPU calls library kernels, which cannot be part of it.
- A loop inside such a function (`stages_in_a_loop`) is compiled once, without recomputation across iterations.

Measured on one core of an AMD EPYC (jax 0.10.2) with the default training, in us per environment step and its gradient:

| | 1 teacher | 16 teachers |
|---|---|---|
| arrays of three and four elements, noise sampled in each step (before) | 10.5 | 5.3 |
| scalars, no sampling, `derivative` and reward as calls of many kernels, `jax.checkpoint` around the step | 9.6 | 2.4 |
| these calls as one kernel each | 6.2 | 2.2 |
| these, with gradients that recompute from the arguments | 5.6 | 2.1 |
| a whole step except the network as one kernel, its four stages in a loop | 3.3 | 1.7 |
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import jax
from jax.experimental.xla_metadata import set_xla_metadata

_Result = TypeVar("_Result")

_GRAPHS = "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,WHILE"
"""What XLA puts into CUDA graphs: its default, and loops."""

_platform: ContextVar[str | None] = ContextVar("_platform", default=None)
"""Platform that the program is compiled for; None if it is not known during tracing."""

_for_processor: ContextVar[bool] = ContextVar("_for_processor", default=False)
"""Whether the code that is being traced runs only on a CPU."""


def kept_together(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Returns the function, as one kernel when it is compiled for a CPU.

    Args:
        function: takes positional trees of arrays and returns one.
    """

    def traced_alone(*arguments: Any) -> _Result:
        # Otherwise the attributes of this call would also apply to the calls in it.
        with set_xla_metadata(inlineable="true", xla_cpu_small_call="false"), _tracing_for_processor():
            return function(*arguments)

    compiled = jax.jit(jax.checkpoint(traced_alone, prevent_cse=False))

    def as_one_kernel(*arguments: Any) -> _Result:
        with set_xla_metadata(inlineable="false", xla_cpu_small_call="true"):
            return compiled(*arguments)

    @functools.wraps(function)
    def call(*arguments: Any) -> _Result:
        platform = _platform.get()
        if _for_processor.get() or platform not in (None, "cpu"):
            return function(*arguments)
        if platform == "cpu":
            return as_one_kernel(*arguments)
        return jax.lax.platform_dependent(*arguments, cpu=as_one_kernel, default=function)

    return call


@contextlib.contextmanager
def compiling_for(platform: str) -> Iterator[None]:
    """Sets the platform that code within is compiled for: "cpu", "gpu" or another, as jax names it.

    Without it, both forms are traced and JAX selects one when it compiles, which is correct but takes 4 s more for a
    training. JAX caches the traces of jitted functions: to compile one for two platforms in the same process, call
    `jax.clear_caches` in between.
    """
    token = _platform.set(platform)
    try:
        yield
    finally:
        _platform.reset(token)


def computed_once(array: jax.Array) -> jax.Array:
    """Returns the array; a CPU computes it before a loop that does not change it.

    XLA:CPU would transpose the weights of a layer in every step of a window's gradient, which took 6 % of an update.
    """
    return jax.lax.optimization_barrier(array) if _platform.get() in (None, "cpu") else array


def options(platform: str, runs_once: bool, loops_in_graphs: bool = False) -> dict[str, str | bool]:
    """Returns XLA's options for a program.

    Args:
        platform: the platform for which the program is compiled.
        runs_once: whether it runs only once, so that fast compilation matters more than fast code.
        loops_in_graphs: whether a GPU should launch a loop, with all of its steps, as one CUDA graph.
    """
    if platform == "cpu":
        # Creating a population of 16 takes 7 s of compilation on one core with optimisation, and 2 s without.
        return {"xla_backend_optimization_level": "0"} if runs_once else {}
    # For 1000 teachers of `raptor_reference.yaml` on an H100 the pass computes 96 kernels of an iteration twice:
    # without it the program needs as much memory and is predicted to take 70 % of the time (docs/gpu_program.md).
    found: dict[str, str | bool] = {"xla_disable_hlo_passes": "rematerialization"}
    # Options that a version does not know are errors, and these override what a user writes into XLA_FLAGS.
    known = (0, 10) <= jax.__version_info__ < (0, 12) and "command_buffer" not in os.environ.get("XLA_FLAGS", "")
    if platform == "gpu" and loops_in_graphs and known:
        found |= {"xla_gpu_enable_command_buffer": _GRAPHS, "xla_gpu_command_buffer_unroll_loops": True}
    return found


def stages_in_a_loop() -> bool:
    """Returns whether the stages of a step should be a loop, as in CPU kernels; on a GPU they should be unrolled."""
    return _for_processor.get()


@contextlib.contextmanager
def _tracing_for_processor() -> Iterator[None]:
    token = _for_processor.set(True)
    try:
        yield
    finally:
        _for_processor.reset(token)
