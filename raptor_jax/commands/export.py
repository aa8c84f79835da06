"""The command `export`: writes teachers of a run in another format, one file per teacher."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from raptor_jax.commands.exit_status import PASSED
from raptor_jax.commands.options import Command, add_teacher_options
from raptor_jax.errors import UserError
from raptor_jax.utils.console import make_console, say
from raptor_jax.utils.files import writing

if TYPE_CHECKING:
    from raptor_jax.export.teacher import Teacher

_ENDINGS = {"npz": "npz", "onnx": "onnx", "rltools-h5": "h5", "c": "h"}
"""File extensions by format."""
_ALL = "npz-all"


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_teacher_options(parser, "RUN/export/FORMAT")
    parser.add_argument(
        "--format",
        required=True,
        choices=("npz", "onnx", "rltools-h5", "c", _ALL),
        help="npz: NumPy archive, also accepted by --training.start; onnx: ONNX model; rltools-h5: HDF5 checkpoint of"
        " RLtools; c: C header for a microcontroller (onnx and rltools-h5 need raptor-jax[export]); npz-all: one NumPy"
        " archive of all teachers, in float16",
    )


def _run(options: argparse.Namespace) -> int:
    export_run(options.run, options.format, options.teacher, options.output, make_console())
    return PASSED


def export_run(run: Path, format: str, teacher_id: int | None, output: Path | None, console: Console) -> None:
    """Writes teachers of a run in another format, as teacher_0000.ENDING and so on, or all of them as teachers.npz.

    Args:
        run: output directory of a run.
        format: npz, onnx, rltools-h5, c or npz-all.
        teacher_id: teacher to export; None for all.
        output: directory for the files; None for RUN/export/FORMAT.
        console: where the result is printed.

    Raises:
        UserError: a package is missing, the run or the teacher does not exist, or the files cannot be written.
    """
    from raptor_jax.export.teacher import read_teachers

    if format == _ALL:
        _export_all(run, teacher_id, output, console)
        return
    write = _writer(format)
    teachers = read_teachers(run, teacher_id)
    directory = output or run / "export" / format
    with writing(directory, "name another directory", "--output"):
        for teacher in teachers:
            write(directory / f"{teacher.name}.{_ENDINGS[format]}", teacher)
    files = "1 file" if len(teachers) == 1 else f"{len(teachers)} files"
    say(console, f"wrote {files} to {directory}")


def _export_all(run: Path, teacher_id: int | None, output: Path | None, console: Console) -> None:
    """Writes all teachers of a run in one file."""
    from raptor_jax.export import all_teachers
    from raptor_jax.export.teacher import read_teachers

    if teacher_id is not None:
        raise UserError(f"--teacher {teacher_id}: {_ALL} holds all teachers; leave --teacher out, or use --format npz")
    path = (output or run / "export" / _ALL) / all_teachers.NAME
    teachers = read_teachers(run, None)
    with writing(path, "name another directory", "--output"):
        all_teachers.write(path, teachers)
    say(console, f"wrote {len(teachers)} teachers to {path}")


def _writer(format: str) -> Callable[[Path, "Teacher"], None]:
    try:
        match format:
            case "npz":
                from raptor_jax.export.numpy_archive import write
            case "onnx":
                from raptor_jax.export.onnx_model import write
            case "rltools-h5":
                from raptor_jax.export.rltools_checkpoint import write
            case "c":
                from raptor_jax.export.c_header import write
    except ModuleNotFoundError as error:
        raise UserError(f"--format {format}: needs the package {error.name}; install raptor-jax[export]") from None
    return write


COMMAND = Command(
    "export",
    "write teachers of a run in another format",
    "[options] --format FORMAT RUN",
    _add_options,
    _run,
)
