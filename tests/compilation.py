"""Compiled programs: kept below the checkout, for all processes of the suite and for its later runs."""

import contextlib
import os
import shutil
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

KEPT = Path(__file__).parents[1] / ".cache" / "xla"
"""What the workers have compiled; complete entries only."""
MOST_BYTES = 2 * 2**30


@contextlib.contextmanager
def keeping_programs(worker: str):
    """Makes this process and those that it starts keep their compiled programs; yields the worker's own directory.

    It begins with all that is kept. JAX writes an entry in place, so that another worker could read half of one; that
    is why each has a directory of its own, and entries are exchanged as links.
    """
    KEPT.mkdir(parents=True, exist_ok=True)
    remove_abandoned()
    # Named after the process, so that suites that run at the same time do not share it.
    own = KEPT.with_name(f"xla_{worker}_{os.getpid()}")
    own.mkdir()
    exchange(own)
    # Programs that take a moment are many; together they take as long as the large ones.
    variables = {
        "JAX_COMPILATION_CACHE_DIR": str(own),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 0.0,
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": -1,
        # XLA's own caches have paths, which would make a program another one in another directory.
        "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, str(value))
            jax.config.update(name.lower(), value)
        # JAX may have looked for a cache already.
        compilation_cache.reset_cache()
        yield own
    exchange(own)
    shutil.rmtree(own)
    remove_oldest(MOST_BYTES)


def exchange(own: Path) -> None:
    """Gives the programs of this worker to the other workers, and takes theirs."""
    for source, target in (own, KEPT), (KEPT, own):
        for name in {*os.listdir(source)} - {*os.listdir(target)}:
            # Another worker may have given or removed it by now.
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.link(source / name, target / name)


def remove_abandoned() -> None:
    """Removes the directories of workers that were killed."""
    for path in KEPT.parent.glob("xla_*_*"):
        if not os.path.exists(f"/proc/{path.name.rpartition('_')[2]}"):
            shutil.rmtree(path, ignore_errors=True)


def remove_oldest(most_bytes: int) -> None:
    """Removes the oldest entries until the remaining ones have at most this number of bytes."""
    found = []
    for path in KEPT.iterdir():
        # Another worker may be removing them, too.
        with contextlib.suppress(FileNotFoundError):
            found.append((path.stat(), path))
    left = 0
    for status, path in sorted(found, key=lambda one: one[0].st_mtime, reverse=True):
        left += status.st_size
        if left > most_bytes:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def without_optimization():
    """Compiles programs without optimization, in about half the time, here and in processes started from here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
        jax.config.update("jax_disable_most_optimizations", True)
        yield
    jax.config.update("jax_disable_most_optimizations", False)


@contextlib.contextmanager
def compiling_anew():
    """Disables the cache of compiled programs in this process."""
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_enable_compilation_cache", True)
    compilation_cache.reset_cache()
