"""A full disk, or a device out of memory, as a one-line error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax

from raptor_jax.errors import UserError
from raptor_jax.population import memory
from raptor_jax.training.state import Job
from raptor_jax.utils.files import writing


@contextmanager
def reported(job: Job, step: Callable[[], int] = lambda: 0) -> Iterator[None]:
    """Converts write errors and exhausted device memory to a one-line UserError.

    Args:
        job: what is trained.
        step: returns the current step, in environment steps of a teacher.
    """
    fix = "the last checkpoint is whole: make room and continue with --resume"
    try:
        with writing(job.output_dir, fix):
            yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise UserError(
            f"out of device memory after step {step()}; train fewer teachers (--num-teachers), or lower"
            f" {memory.largest(job.config)}"
        ) from None
