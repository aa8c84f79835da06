"""The output directory of a run: its lock, its inputs, and which settings a resumed run may change."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import yaml
from rich.console import Console

from raptor_jax import config as configs
from raptor_jax.config import Config
from raptor_jax.drones.files import DroneFile, load_directory, to_json
from raptor_jax.drones.parameters import same
from raptor_jax.errors import UserError
from raptor_jax.runs import layout
from raptor_jax.utils.console import readable_bytes, say
from raptor_jax.utils.files import move_aside, remove_temporaries, write_text, writing

FIX = "make room, or name another with --output-dir"
"""How to fix an output directory that cannot be written."""

CHANGEABLE = {
    f"training.{key}"
    for key in (
        "steps_per_teacher",
        "extra_rounds",
        "eval_frequency",
        "final_eval_episodes",
        "checkpoint_frequency",
        "checkpoint_replay",
        "log_frequency",
        "tensorboard_teachers",
        "pass_return",
    )
} | {f"distillation.{key}" for key in ("eval_frequency", "checkpoint_frequency")}
"""Settings that a resumed run may change: its length, and how it is logged, saved and evaluated."""


def require(output_dir: Path, overwrite: bool, resume: bool) -> bool:
    """Returns whether a directory holds a run to resume; changes nothing.

    Raises:
        UserError: a run cannot be written to the directory.
    """
    if os.path.exists(output_dir) and not os.path.isdir(output_dir):
        raise UserError(f"{output_dir}: is a file; name a directory with --output-dir")
    # The settings are the last input to be written before a run trains.
    begun = os.path.isfile(layout.config_file(output_dir))
    is_run = begun or os.path.isfile(output_dir / layout.LOCK)
    if resume and not is_run:
        raise UserError(f"{output_dir}: holds no run to resume; leave out --resume, or name one with --output-dir")
    with writing(output_dir, FIX):
        occupied = not resume and holds_something(output_dir)
    if occupied:
        if not overwrite:
            found = "already holds a run; continue it (--resume)," if is_run else "is not empty, but holds no run;"
            raise UserError(
                f"{output_dir}: {found} name another directory (--output-dir), or move it aside and start again"
                " (--overwrite)"
            )
        if output_dir.resolve() in (Path.cwd(), *Path.cwd().parents):
            raise UserError(f"{output_dir}: contains the working directory and cannot be moved aside; name another")
    return resume and begun


def require_space(output_dir: Path, checkpoint_bytes: int) -> None:
    """Raises UserError if the disk has too little space for the checkpoints."""
    parent = next(place for place in (output_dir.absolute(), *output_dir.absolute().parents) if os.path.exists(place))
    free = shutil.disk_usage(parent).free
    if checkpoint_bytes > free:
        raise UserError(
            f"{output_dir}: the checkpoints need {readable_bytes(checkpoint_bytes)}, its disk has"
            f" {readable_bytes(free)} free; make room or name another with --output-dir"
        )


def holds_something(output_dir: Path) -> bool:
    """Returns whether a directory contains anything besides a lock."""
    return os.path.isdir(output_dir) and any(path.name != layout.LOCK for path in output_dir.iterdir())


def _clear_leftovers(output_dir: Path) -> None:
    """Removes the temporary files of a run that was killed while writing; requires the lock."""
    names = (layout.RESULTS, layout.CURVES, layout.STUDENT, layout.STUDENT_RESULTS)
    for path in (*(output_dir / name for name in names), layout.config_file(output_dir)):
        remove_temporaries(path)


def require_same_run(output_dir: Path, config: Config, files: Sequence[DroneFile]) -> None:
    """Raises UserError, which names the differences, unless a run may be resumed with these settings and drones."""
    require_same_settings(output_dir, config, ignored=("sampling.", "distillation."))
    kept = {file.name: file.drone for file in load_directory(layout.drones(output_dir))}
    given = {file.name: file.drone for file in files}
    strange = sorted(
        name
        for name in kept.keys() | given.keys()
        if not (name in kept and name in given and same(kept[name], given[name]))
    )
    if strange:
        raise UserError(
            f"{output_dir}: cannot resume with other drones: {', '.join(strange[:5])}{' ...' if strange[5:] else ''}"
            "; use the --dynamics-dir or --drone, and the number of teachers, of the run"
        )


def require_same_settings(output_dir: Path, config: Config, ignored: tuple[str, ...]) -> None:
    """Raises UserError, which names the differences, unless a run may be resumed with these settings.

    Args:
        output_dir: output directory of the run.
        config: the settings for the resume.
        ignored: prefixes of keys that may differ, besides those in CHANGEABLE.
    """
    before = _flat(configs.load(layout.config_file(output_dir)))
    now = _flat(config)
    differing = [
        f"{key} {now[key]} (was {before[key]})"
        for key in now
        if now[key] != before[key] and key not in CHANGEABLE and not key.startswith(ignored)
    ]
    if differing:
        raise UserError(
            f"{output_dir}: cannot resume with other settings: {', '.join(differing)}; leave them unchanged, or name"
            " another --output-dir"
        )


def _flat(config: Config) -> dict[str, object]:
    sections = yaml.safe_load(configs.dump(config))
    return {f"{section}.{key}": value for section, keys in sections.items() for key, value in keys.items()}


@contextlib.contextmanager
def own(
    output_dir: Path, config: Config, console: Console, keep: bool, files: Sequence[DroneFile] = ()
) -> Iterator[None]:
    """Locks a directory for this run, and writes its inputs.

    Args:
        output_dir: output directory of the run.
        config: the settings, which replace those of a resumed run.
        console: where a renamed directory is reported.
        keep: whether the content is kept, for a run that is resumed; else the directory is renamed.
        files: the drones, which are valid; written unless the content is kept.

    Raises:
        UserError: another process holds the lock, or the directory cannot be written.
    """
    with contextlib.ExitStack() as at_the_end:
        at_the_end.enter_context(locked(output_dir))
        with writing(output_dir, FIX):
            if keep:
                _clear_leftovers(output_dir)
            elif holds_something(output_dir):
                moved = move_aside(output_dir)
                say(console, f"moved the run that was in {output_dir} to {moved}")
                # The first lock moved with the old run.
                at_the_end.enter_context(locked(output_dir))
            for file in () if keep else files:
                write_text(layout.drones(output_dir) / f"{file.name}.json", to_json(file.drone, file.metadata))
            # Last, because its presence means that the run can be resumed.
            write_text(layout.config_file(output_dir), configs.dump(config))
        yield


@contextlib.contextmanager
def locked(output_dir: Path) -> Iterator[None]:
    """Locks a directory for this process; the lock ends with the process, even if it is killed.

    Raises:
        UserError: another process holds the lock, or the directory cannot be written.
    """
    with locked_if_free(output_dir) as free:
        if not free:
            raise UserError(
                f"{output_dir}: another run is writing there; wait for it, or name another with --output-dir"
            )
        yield


@contextlib.contextmanager
def locked_if_free(output_dir: Path, fix: str = FIX) -> Iterator[bool]:
    """Locks a directory as `locked` does, and yields whether no other process held it.

    Args:
        output_dir: the directory.
        fix: how to fix a directory that cannot be written, for the error.

    Raises:
        UserError: the directory cannot be written.
    """
    with writing(output_dir, fix):
        output_dir.mkdir(parents=True, exist_ok=True)
        lock = open(output_dir / layout.LOCK, "a")  # noqa: SIM115 (kept open for as long as the lock is held)
    with lock:
        with writing(output_dir, fix):
            free = _locks(lock)
        yield free


def _locks(file: IO[str]) -> bool:
    """Returns whether this process could lock a file; the lock ends when the file is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
