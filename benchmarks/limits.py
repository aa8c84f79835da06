"""What a machine can do at best, through XLA: its fastest large matrix product, and the bandwidth of its memory."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

TURNS = 5
"""Each limit is the best of so many."""


def seconds_per_call(call: Callable[[], Any], at_least: float) -> float:
    """Returns what one call takes, of calls one after another that together take `at_least` seconds."""
    calls, started = 0, time.perf_counter()
    while True:
        jax.block_until_ready(call())
        calls += 1
        took = time.perf_counter() - started
        if took >= at_least:
            return took / calls


def measure(precisions: Sequence[str], at_least: float) -> dict[str, Any]:
    """Returns the limits of the first device: GFLOP/s by precision, and GB/s; a turn takes `at_least` seconds."""
    on_processor = jax.devices()[0].platform == "cpu"
    return {
        "gemm_gflops": {name: _gemm(name, 2048 if on_processor else 16_384, at_least) for name in precisions},
        "bandwidth_gbs": _bandwidth(2**26 if on_processor else 2**29, at_least),
    }


def _gemm(precision: str, size: int, at_least: float) -> float:
    """Returns the GFLOP/s of square products, in the precision as the networks understand it."""
    bfloat16 = precision == "bfloat16"
    matrix = jnp.full((size, size), 0.5, jnp.bfloat16 if bfloat16 else jnp.float32)
    named = None if bfloat16 else precision
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision=named, preferred_element_type=jnp.float32))
    return 2e-9 * size**3 / _best(lambda: product(matrix, matrix), at_least)


def _bandwidth(size: int, at_least: float) -> float:
    """Returns the GB/s of a triad y + s x that takes y's place: two numbers read, one written."""
    x, y = jnp.ones(size, jnp.float32), jnp.zeros(size, jnp.float32)
    triad = jax.jit(lambda y, x: y + 0.5 * x, donate_argnums=0)

    def call() -> jax.Array:
        nonlocal y
        y = triad(y, x)
        return y

    return 3 * 4e-9 * size / _best(call, at_least)


def _best(call: Callable[[], Any], at_least: float) -> float:
    jax.block_until_ready(call())
    return min(seconds_per_call(call, at_least) for _ in range(TURNS))
