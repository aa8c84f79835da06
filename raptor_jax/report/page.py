"""The page: template, style, scripts and data in one HTML file."""

import html
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import numpy as np

from raptor_jax import evaluation
from raptor_jax.errors import UserError
from raptor_jax.report import content, flights
from raptor_jax.runs import analysis, student_results
from raptor_jax.runs.kept import load_kept
from raptor_jax.utils.files import require_writable, write_text, writing

FLIGHTS = 1000
"""Largest number of teachers whose flights are included, those with the lowest returns; at most 16 MB."""

_SCRIPTS = ("plots.js", "table.js", "flight.js", "view.js", "page.js")


def write(run: Path, output: Path, student: Path | None = None) -> int:
    """Flies the best actors of a run and writes its report; returns the size in bytes.

    Args:
        run: output directory of a run.
        output: the file to write.
        student: directory of a student of its teachers, whose returns are shown next to theirs.

    Raises:
        UserError: the directory contains no run with a checkpoint and curves, `student` is not a student of its
            teachers, or `output` cannot be written.
    """
    require_writable("--output", output)
    population = analysis.load(run)
    by_student = None if student is None else _returns_of_student(student, population)
    shown = content.of(population, _fly(run, population), by_student)
    text = assemble(f"Report of {run.resolve().name}", shown)
    with writing(output, "name another file", "--output"):
        write_text(output, text)
    return len(text.encode())


def assemble(title: str, shown: dict[str, Any]) -> str:
    """Returns the page's HTML."""
    parts = {
        "title": html.escape(title),
        "style": _file("style.css"),
        "script": "\n".join(_file(name) for name in _SCRIPTS),
        # So that the data cannot contain "</script>".
        "data": json.dumps(shown, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _file("template.html"))


def _returns_of_student(student: Path, population: analysis.Population) -> dict[int, float | None]:
    """Returns the student's mean return on the drone of each teacher, by teacher_id."""
    found = student_results.read(student)
    drones = dict(zip(population.teachers["teacher_id"].tolist(), population.teachers["drone"].tolist(), strict=True))
    if not found.drones:
        raise UserError(f"--student {student}: the student was not evaluated yet; finish it with distill --resume")
    for entry in found.drones:
        if Path(drones.get(entry.teacher_id, "")).stem != entry.drone:
            raise UserError(
                f"--student {student}: learned from the teachers of {found.run}, and teacher {entry.teacher_id} has"
                " another drone here; name that run"
            )
    return {entry.teacher_id: entry.mean_return for entry in found.drones}


def _fly(run: Path, population: analysis.Population) -> list[flights.PackedFlight | None]:
    """Returns the packed flights [T]; None for teachers beyond FLIGHTS, and for flights that are not finite."""
    kept = load_kept(run, {})
    rows = np.argsort(analysis.returns(population))[:FLIGHTS]
    actors, drones = jax.tree.map(lambda leaf: leaf[rows], (kept.actors, kept.drones))
    episodes = kept.settings.training.final_eval_episodes
    flown = evaluation.roll_out_first(kept.settings, actors, drones, episodes, evaluation.FINAL)
    recording = flights.recorded(*jax.device_get(flown))
    packed: list[flights.PackedFlight | None] = [None] * len(population)
    for row, flight in zip(rows, flights.pack(recording), strict=True):
        packed[row] = flight
    return packed


def _file(name: str) -> str:
    return resources.files("raptor_jax.report").joinpath(name).read_text(encoding="utf-8")
