"""Where a command computes: what jax reads from the environment, the processes of a run, the device."""

import logging
import os

from raptor_jax.errors import UserError, first_line


def set_environment(device: str) -> None:
    """Sets what jax reads from the environment when it is imported, unless the user has."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(cache, "raptor_jax", "xla"))
    # Orbax warns of the leftovers that it clears away.
    logging.getLogger("absl").setLevel(logging.ERROR)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
    # One large program: what other programs on the card would need is not kept free.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")
    if device != "auto":
        os.environ["JAX_PLATFORMS"] = device


def join_processes() -> None:
    """Makes this process one of several of one run. Raises UserError where it cannot find the others."""
    import jax

    given = (os.environ.get(f"JAX_{name}") for name in ("NUM_PROCESSES", "PROCESS_ID"))
    processes, own = (int(text) if text and text.isdecimal() else None for text in given)
    try:
        jax.distributed.initialize(num_processes=processes, process_id=own)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"--distributed: {first_line(error)}; start it by SLURM or Open MPI, or set JAX_COORDINATOR_ADDRESS,"
            " JAX_NUM_PROCESSES and JAX_PROCESS_ID in each process"
        ) from None


def require_device(device: str) -> None:
    """Raises UserError if jax cannot compute where the user wants."""
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        # jax 0.10 fails an assertion without a message where the platform's plugin is not installed.
        reason = f" ({str(error).splitlines()[0]})" if str(error) else ""
        raise UserError(
            f"--device {device}: JAX finds no such device{reason}; install raptor-jax[cuda12] on a machine with an"
            " NVIDIA GPU, or pass --device cpu"
        ) from None
