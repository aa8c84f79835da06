"""Reports a full disk, or a device out of memory, as a one-line error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from raptor_jax.errors import UserError
from raptor_jax.population import memory
from raptor_jax.training.setup import Job
from raptor_jax.utils.files import writing


@contextmanager
def reported(job: Job, step: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Converts write errors and exhausted device memory to a one-line UserError.

    Args:
        job: the training.
        step: returns the current step, in environment steps per teacher.
    """
    remedy = f"train fewer teachers (--num-teachers), or lower {memory.memory_options(job.config)}"
    with converted(job.output_dir, lambda: f"after step {step()}; {remedy}"):
        yield


@contextmanager
def converted(output_dir: Path, memory_ended: Callable[[], str]) -> Iterator[None]:
    """Converts write errors below a directory and exhausted device memory to a one-line UserError.

    Args:
        output_dir: output directory of a training or a distillation.
        memory_ended: returns when the device ran out of memory, and how to fix it.
    """
    try:
        with writing(output_dir, "finished checkpoints are undamaged: make room and continue with --resume"):
            yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(f"out of device memory {memory_ended()}") from None
