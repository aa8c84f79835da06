"""The names of all files in the output directory of a run; other modules take them from here.

RUN/.lock                                held by the process that writes there
RUN/results.json                         the results of each teacher
RUN/curves.npz                           every teacher's curves
RUN/logs/                                the same for TensorBoard
RUN/checkpoints/config.yaml              the settings of the run
RUN/checkpoints/dynamics/0000.json ...   the drones under their own names; their order is the teacher axis
RUN/checkpoints/best/STEP/default        the kept actor of each teacher, with its critics and alpha
RUN/checkpoints/latest/STEP/default      the population in training at STEP
RUN/checkpoints/latest/STEP/notes        JSON: the state of the run at STEP, and its results so far
RUN/report.html                          written by the command `report`
RUN/export/FORMAT/                       written by `export`: a file for each teacher, or teachers.npz for all
RUN/rollouts/                            written by `rollout`: a file for each teacher, and dataset.json

A distillation writes into a directory of its own:

STUDENT/.lock, logs/, checkpoints/       as above; a step is an iteration, and the kept actor is the student's network
STUDENT/student.npz                      the student
STUDENT/student.json                     how it was made, and its results
STUDENT/export/FORMAT/                   written by `export`
"""

from pathlib import Path
from typing import Literal

LOCK = ".lock"
RESULTS = "results.json"
CURVES = "curves.npz"
STUDENT = "student.npz"
STUDENT_RESULTS = "student.json"
LOGS = "logs"
CHECKPOINTS = "checkpoints"
CONFIG = "config.yaml"
DYNAMICS = "dynamics"
BEST: Literal["best"] = "best"
LATEST: Literal["latest"] = "latest"
KINDS = (BEST, LATEST)
"""The kinds of checkpoint."""
ARRAYS = "default"
"""The name that Orbax gives to the arrays of a checkpoint."""
NOTES = "notes"
REPORT = "report.html"
EXPORT = "export"
ALL_TEACHERS = "teachers.npz"
ROLLOUTS = "rollouts"
DATASET = "dataset.json"

Kind = Literal["best", "latest"]


def config_file(run: Path) -> Path:
    """Returns the path of the settings of a run."""
    return run / CHECKPOINTS / CONFIG


def drones(run: Path) -> Path:
    """Returns the directory with the drones of a run."""
    return run / CHECKPOINTS / DYNAMICS


def checkpoints(run: Path, kind: Kind) -> Path:
    """Returns the directory with the checkpoints of a kind."""
    return run / CHECKPOINTS / kind


def checkpoint(run: Path, kind: Kind, step: int) -> Path:
    """Returns the directory of one checkpoint."""
    return checkpoints(run, kind) / str(step)


def best_arrays(step: int) -> str:
    """Returns the path of the kept actors of a step, relative to the output directory."""
    return f"{CHECKPOINTS}/{BEST}/{step}/{ARRAYS}"
