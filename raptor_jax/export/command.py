"""The command `export`: teachers of a run, one file each."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from raptor_jax.errors import UserError
from raptor_jax.export.teacher import Teacher, read_teachers
from raptor_jax.utils.console import say

_ENDINGS = {"npz": "npz", "onnx": "onnx", "rltools-h5": "h5", "c": "h"}
"""Of the files, by format."""


def export_run(run: Path, format: str, teacher_id: int | None, output: Path | None, console: Console) -> None:
    """Writes teachers of a run in another format, as teacher_0000.ENDING and so on.

    Args:
        run: output directory of a run.
        format: npz, onnx, rltools-h5 or c.
        teacher_id: the one to export; None for all.
        output: directory for the files; None for RUN/export/FORMAT.
        console: where the result is told.

    Raises:
        UserError: a package is missing, the run or the teacher does not exist, or the files cannot be written.
    """
    write = _writer(format)
    teachers = read_teachers(run, teacher_id)
    directory = output or run / "export" / format
    try:
        for teacher in teachers:
            write(directory / f"{teacher.name}.{_ENDINGS[format]}", teacher)
    except OSError as error:
        raise UserError(f"--output: {directory}: cannot be written: {error.strerror}; name another directory") from None
    files = "1 file" if len(teachers) == 1 else f"{len(teachers)} files"
    say(console, f"wrote {files} to {directory}")


def _writer(format: str) -> Callable[[Path, Teacher], None]:
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
