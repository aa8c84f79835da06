"""What is there only for XLA's compiler.

On a processor (on an accelerator all of this is off):

XLA:CPU computes what several outputs share anew for each of them, so that the gradient of a step on scalars grew from
8 000 to 79 000 operations and compiled for minutes. And it starts a kernel for each output: about 600 for a simulated
step and its gradient, of 0.1 us each, beside which the arithmetic of few environments is nothing. Two remedies:

- A function that is `kept_together` is a call which XLA neither inlines nor cuts: its operations become one kernel.
  Its gradient is one kernel too, which begins with the arguments and computes the rest again. No reduction may be in
  it, and no product of matrices: where these are large, XLA:CPU takes kernels of a library, which do not go inside.
- A loop inside of it (`stages_in_a_loop`) is compiled once, and nothing is computed anew across its turns.

Measured on a core of an AMD EPYC (jax 0.10.2), the default training, in us for an environment step with its gradient:

| | 1 teacher | 16 teachers |
|---|---|---|
| arrays of three and four, noise drawn in each step (before) | 10.5 | 5.3 |
| scalars, no draws, `derivative` and reward as calls of many kernels, `jax.checkpoint` around the step | 9.6 | 2.4 |
| these calls as one kernel each | 6.2 | 2.2 |
| these, beginning their gradient with the arguments | 5.6 | 2.1 |
| all of a step but the network as one kernel, its four stages in a loop | 3.3 | 1.7 |
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import jax
from jax.experimental.xla_metadata import set_xla_metadata

_Result = TypeVar("_Result")

_platform: ContextVar[str | None] = ContextVar("_platform", default=None)
"""What the program is compiled for, where that is known while it is traced."""

_for_processor: ContextVar[bool] = ContextVar("_for_processor", default=False)
"""Whether what is being traced runs on a processor alone."""


def kept_together(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Returns the function, as one kernel where it is compiled for a processor.

    Args:
        function: takes and returns trees of arrays, by position.
    """

    def traced_alone(*arguments: Any) -> _Result:
        # The marks of the call would hold for every call inside of it too.
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
    """States what is compiled within: "cpu", "cuda" and the like.

    Elsewhere both forms are traced, and JAX takes the one that fits when it compiles, which is right but takes 4 s more
    for a training. JAX keeps what a jitted function was traced to: to compile one for two platforms in a process, call
    `jax.clear_caches` in between.
    """
    token = _platform.set(platform)
    try:
        yield
    finally:
        _platform.reset(token)


def options(platform: str, runs_once: bool) -> dict[str, str | bool]:
    """Returns XLA's options for a program.

    Args:
        platform: what the program is compiled for.
        runs_once: whether it runs once, so that code generation costs more than slow code.
    """
    if platform == "cpu":
        # A population of 16 is created by 7 s of a core's compilation with, and by 2 s without optimization.
        return {"xla_backend_optimization_level": "0"} if runs_once else {}
    # For 1000 teachers of `raptor_reference.yaml` on an H100 the pass computes 96 kernels of an iteration twice:
    # without it the program needs as much memory and is predicted to take 70 % of the time (docs/gpu_program.md).
    return {"xla_disable_hlo_passes": "rematerialization"}


def stages_in_a_loop() -> bool:
    """Returns whether the stages of a step should be a loop: in a kernel of a processor. A GPU needs them unrolled."""
    return _for_processor.get()


@contextlib.contextmanager
def _tracing_for_processor() -> Iterator[None]:
    token = _for_processor.set(True)
    try:
        yield
    finally:
        _for_processor.reset(token)
