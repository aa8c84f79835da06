"""What a run, a checkpoint or a file of ours holds: the command `inspect`."""

import json
from pathlib import Path

from rich.console import Console

from raptor_jax.errors import UserError
from raptor_jax.inspection import content, text


def inspect(path: Path, teacher: int | None, as_json: bool, console: Console) -> None:
    """Prints what `path` holds, or what its run says of one teacher, as text or as JSON.

    Raises:
        UserError: it is nothing of ours; or, after all of it was printed, a checkpoint in it is not whole.
    """
    found = content.describe(path) if teacher is None else content.describe_teacher(path, teacher)
    if as_json:
        try:
            print(json.dumps(found, indent=2, allow_nan=False))
        except ValueError:
            raise UserError(f"{path}: holds NaN or infinity, which JSON has not; leave --json out") from None
    else:
        text.show(found, console)
    if problem := next((one["problem"] for one in found.get("checkpoints", ()) if one["problem"]), None):
        raise UserError(problem)
