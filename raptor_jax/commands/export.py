"""The command `export`: writes teachers of a run, or the student, in another format."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from raptor_jax.commands.exit_status import PASSED
from raptor_jax.commands.options import Command, add_selection_options
from raptor_jax.errors import UserError
from raptor_jax.runs import layout
from raptor_jax.utils.console import make_console, say
from raptor_jax.utils.files import writing

if TYPE_CHECKING:
    from raptor_jax.export.student.policy import Student
    from raptor_jax.export.teacher import Teacher

_ENDINGS = {"npz": "npz", "onnx": "onnx", "rltools-h5": "h5", "c": "h"}
"""File extensions by format."""
_PX4 = "px4"
_PX4_NAME = "policy.tar"
"""The file name that PX4's module reads."""
_ALL = "npz-all"


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="what to export: the output directory of a run for its teachers; that of distill, or the student.npz in"
        " it, for the student",
    )
    add_selection_options(parser, "export/FORMAT in the directory of the run or the student")
    parser.add_argument(
        "--format",
        required=True,
        choices=(*_ENDINGS, _ALL, _PX4),
        help="npz: NumPy archive (--training.start also accepts a teacher's); onnx: ONNX model; rltools-h5: HDF5"
        " checkpoint of RLtools; c: C header for a microcontroller; npz-all: one NumPy archive of all teachers, in"
        " float16; px4: the student for PX4's module mc_raptor (onnx and rltools-h5 need raptor-jax[export])",
    )


def _run(options: argparse.Namespace) -> int:
    from raptor_jax.runs import student_file

    console = make_console()
    if not student_file.names_student(options.path):
        export_run(options.path, options.format, options.teacher, options.output, console)
    elif options.teacher is None:
        export_student(options.path, options.format, options.output, console)
    else:
        raise UserError(f"--teacher {options.teacher}: {options.path} is a student; leave --teacher out, or name a run")
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
        UserError: a package is missing, the run or the teacher does not exist, or the files cannot be written; or the
            format is px4.
    """
    from raptor_jax.export.teacher import read_teachers

    if format == _PX4:
        raise UserError(
            f"--format {_PX4}: {run} is not a student, and teachers observe rotor states, which PX4 does not measure;"
            " name a directory that distill wrote"
        )
    if format == _ALL:
        _export_all(run, teacher_id, output, console)
        return
    write = _writer(format)
    teachers = read_teachers(run, teacher_id)
    directory = output or run / layout.EXPORT / format
    with writing(directory, "name another directory", "--output"):
        for teacher in teachers:
            write(directory / f"{teacher.name}.{_ENDINGS[format]}", teacher)
    files = "1 file" if len(teachers) == 1 else f"{len(teachers)} files"
    say(console, f"wrote {files} to {directory}")


def export_student(path: Path, format: str, output: Path | None, console: Console) -> None:
    """Writes the student in another format, as student.ENDING, or as policy.tar for PX4.

    Args:
        path: the directory that `distill` wrote, or the student's file.
        format: npz, onnx, rltools-h5, c or px4.
        output: directory for the file; None for export/FORMAT in the student's directory.
        console: where the result is printed.

    Raises:
        UserError: a package is missing, the student is damaged or does not fit the format, or the file cannot be
            written.
    """
    from raptor_jax.export.student.policy import read_student
    from raptor_jax.runs import student_file

    if format == _ALL:
        raise UserError(f"--format {_ALL}: {path} is a student, not a run of teachers; use --format npz")
    write = _student_writer(format)
    student = read_student(path)
    directory = output or student_file.directory(path) / layout.EXPORT / format
    file = directory / (_PX4_NAME if format == _PX4 else f"student.{_ENDINGS[format]}")
    with writing(directory, "name another directory", "--output"):
        write(file, student)
    say(console, f"wrote {file}")


def _export_all(run: Path, teacher_id: int | None, output: Path | None, console: Console) -> None:
    """Writes all teachers of a run in one file."""
    from raptor_jax.export import all_teachers
    from raptor_jax.export.teacher import read_teachers

    if teacher_id is not None:
        raise UserError(f"--teacher {teacher_id}: {_ALL} exports all teachers; leave --teacher out or use --format npz")
    path = (output or run / layout.EXPORT / _ALL) / layout.ALL_TEACHERS
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
        raise _missing(format, error) from None
    return write


def _student_writer(format: str) -> Callable[[Path, "Student"], None]:
    try:
        match format:
            case "npz":
                from raptor_jax.export.student.numpy_archive import write
            case "onnx":
                from raptor_jax.export.student.onnx_model import write
            case "rltools-h5":
                from raptor_jax.export.student.rltools_checkpoint import write
            case "c":
                from raptor_jax.export.student.c_header import write
            case "px4":
                from raptor_jax.export.student.px4_policy import write
    except ModuleNotFoundError as error:
        raise _missing(format, error) from None
    return write


def _missing(format: str, error: ModuleNotFoundError) -> UserError:
    return UserError(f"--format {format}: needs the package {error.name}; install raptor-jax[export]")


COMMAND = Command(
    "export",
    "write teachers of a run, or the student, in another format",
    "[options] --format FORMAT PATH",
    _add_options,
    _run,
)
