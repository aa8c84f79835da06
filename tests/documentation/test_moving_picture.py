"""The script that draws the moving picture of the README: frames, size, and one-line errors."""

import importlib.util
from pathlib import Path

import pytest
from PIL import Image

from raptor_jax.commands import exit_status
from raptor_jax.config import build
from tests.runs.builder import write_actors, write_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LARGEST = 2_000_000
"""Bytes of the picture in the repository."""


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("moving_picture", ROOT / "scripts" / "moving_picture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three teachers, the last of which did not pass, with short episodes."""
    directory = tmp_path_factory.mktemp("picture") / "run"
    write_run(directory, 3, settings=build({"environment": {"episode_steps": 20}}, {}, "test"))
    write_actors(directory)
    return directory


def test_it_draws_named_teachers(script, run, tmp_path, capsys):
    path = tmp_path / "flights.gif"
    options = ["--teachers", "0,2", "--episodes", "2", "--seconds", "0.16", "--output", str(path)]
    assert script.main([str(run), *options]) == exit_status.PASSED
    assert "2 drones" in capsys.readouterr().out
    assert path.stat().st_size < 100_000
    with Image.open(path) as picture:
        assert picture.n_frames == 5
        assert picture.info["loop"] == 0
        assert picture.width == script.WIDTH
        first = picture.convert("RGB")
        assert picture.info["duration"] == 1000 * script.FIRST_SECONDS
        picture.seek(1)
        assert picture.info["duration"] == 1000 / script.FRAMES_PER_SECOND
        assert picture.convert("RGB").tobytes() != first.tobytes()


def test_by_default_it_draws_those_that_passed_by_mass(script, run):
    flights = script.fly(run, None, 2, 0.04)
    assert len(flights) == 2
    assert flights[0].mass < flights[1].mass
    assert flights[0].position.shape == (2, 3)
    tilts = [flight.rotation[0, 2, 2] for flight in flights]
    assert tilts[0] < tilts[1]


def test_errors_are_one_line(script, run, tmp_path, capsys):
    cases = {
        "name the output directory of a run": [str(tmp_path / "nowhere")],
        "has no teacher 7, but 0 to 2": [str(run), "--teachers", "1,7"],
        "cannot be written": [str(run), "--output", str(tmp_path / "nowhere" / "flights.gif")],
        "should be above 0": [str(run), "--seconds", "-1"],
    }
    for message, options in cases.items():
        output = [] if "--output" in options else ["--output", str(tmp_path / "flights.gif")]
        assert script.main([*options, *output]) == exit_status.USAGE
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_the_picture_of_the_readme_is_small():
    path = ROOT / "docs" / "flights.gif"
    assert path.stat().st_size < LARGEST
    with Image.open(path) as picture:
        assert picture.n_frames > 50
