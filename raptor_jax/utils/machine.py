"""The machine, and the versions of the packages that a result depends on."""

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import psutil

_PACKAGES = ("raptor-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that a result depends on."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in _PACKAGES}}


def machine() -> dict[str, Any]:
    """Returns platform, processor, cores, memory [GiB] and operating system."""
    return {
        "platform": jax.devices()[0].platform,
        "processor": _processor(),
        "cores": psutil.cpu_count(logical=True),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
