"""The script that draws the moving picture of the README: frames, size, and one-line errors."""

from pathlib import Path

import pytest
from PIL import Image

from raptor_jax.commands import exit_status
from raptor_jax.config import build
from scripts import moving_picture
from tests.runs.builder import write_actors, write_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LARGEST = 2_000_000
"""Bytes of the picture in the repository."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three teachers, the last of which did not pass, with short episodes."""
    directory = tmp_path_factory.mktemp("picture") / "run"
    write_run(directory, 3, settings=build({"environment": {"episode_steps": 20}}, {}, "test"))
    write_actors(directory)
    return directory


def test_it_draws_named_teachers(run, tmp_path, capsys):
    path = tmp_path / "flights.gif"
    options = ["--teachers", "0,2", "--episodes", "2", "--seconds", "0.16", "--output", str(path)]
    assert moving_picture.main([str(run), *options]) == exit_status.PASSED
    assert "2 drones" in capsys.readouterr().out
    assert path.stat().st_size < 100_000
    with Image.open(path) as picture:
        assert (picture.n_frames, picture.width, picture.info["loop"]) == (5, moving_picture.WIDTH, 0)
        first = picture.convert("RGB")
        assert picture.info["duration"] == 1000 * moving_picture.FIRST_SECONDS
        picture.seek(1)
        assert picture.info["duration"] == 1000 / moving_picture.FRAMES_PER_SECOND
        assert picture.convert("RGB").tobytes() != first.tobytes()


def test_by_default_it_draws_those_that_passed_by_mass(run):
    flights = moving_picture.fly(run, None, 2, 0.04)
    assert len(flights) == 2
    assert flights[0].mass < flights[1].mass
    assert flights[0].position.shape == (2, 3)
    tilts = [flight.rotation[0, 2, 2] for flight in flights]
    assert tilts[0] < tilts[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "name the output directory of a run"),
        (["RUN", "--teachers", "1,7"], "has no teacher 7, but 0 to 2"),
        (["RUN", "--output", "nowhere/flights.gif"], "cannot be written"),
        (["RUN", "--seconds", "-1"], "should be above 0"),
    ],
)
def test_errors_are_one_line(run, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    options = [str(run) if option == "RUN" else option for option in options]
    assert moving_picture.main(options) == exit_status.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_the_picture_of_the_readme_is_small():
    path = ROOT / "docs" / "flights.gif"
    assert path.stat().st_size < LARGEST
    with Image.open(path) as picture:
        assert picture.n_frames > 50
