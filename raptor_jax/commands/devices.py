"""Where a command computes: jax's environment variables, the processes of a run, and the device."""

import contextlib
import logging
import os

from raptor_jax.errors import UserError, first_line


def set_environment(device: str) -> None:
    """Sets the environment variables that jax reads when it is imported, and suppresses warnings of Orbax.

    Values that the user has set are kept, except for the platform if `device` is not auto.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(cache, "raptor_jax", "xla"))
    # Orbax warns about the incomplete checkpoints that it removes.
    logging.getLogger("absl").setLevel(logging.ERROR)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
    # No other program uses the GPU, so little memory needs to stay free.
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")
    if device != "auto":
        os.environ["JAX_PLATFORMS"] = device


def join_processes() -> None:
    """Joins this process to the others of a distributed run. Raises UserError if it cannot find them."""
    import jax

    given = (os.environ.get(f"JAX_{name}") for name in ("NUM_PROCESSES", "PROCESS_ID"))
    processes, own = (int(text) if text and text.isdecimal() else None for text in given)
    try:
        jax.distributed.initialize(num_processes=processes, process_id=own)
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"--distributed: {first_line(error)}; start the processes with SLURM or Open MPI, or set"
            " JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID in each process"
        ) from None


def use_cores(most: int) -> None:
    """Makes every core that this process may use a device, at most `most`, unless the user has set their number.

    On one device XLA trains on a single core: the operations are too small to be divided.
    """
    import jax

    if "JAX_NUM_CPU_DEVICES" in os.environ or "host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    # A process that has computed something keeps its devices.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", min(len(os.sched_getaffinity(0)), most))


def require_device(device: str) -> None:
    """Raises UserError if jax has no such device."""
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        # Without the plugin of the platform, jax 0.10 fails an assertion without a message.
        reason = f" ({str(error).splitlines()[0]})" if str(error) else ""
        raise UserError(
            f"--device {device}: JAX finds no such device{reason}; install raptor-jax[cuda12] or raptor-jax[cuda13] on"
            " a machine with an NVIDIA GPU, or pass --device cpu"
        ) from None
