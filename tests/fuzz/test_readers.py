"""Some of the inputs of `benchmarks/fuzz.py`, drawn and shrunk by hypothesis."""

import shutil
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raptor_jax.errors import UserError
from validation.fuzz import readers
from validation.fuzz.trial import attempt, command

# A reading must write nothing, compiled programs included.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("compiled_anew")]

INPUTS = 600
"""Of all readers together."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("fuzz") / "run"
    readers.make_run(directory)
    return directory


@pytest.fixture(scope="module")
def by_name(run):
    return {reader.name: reader for reader in readers.all_readers(run)}


NAMES = (
    *("configuration", "drone", "repair", "drone in YAML", "results", "curves", "start", "student"),
    *("exported policy", "directory of drones", "command line", "checkpoint files", "checkpoint arrays"),
)


def test_every_reader_is_tried(by_name):
    assert tuple(by_name) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_input_is_accepted_or_refused_in_one_line(by_name, name, tmp_path_factory):
    reader = by_name[name]

    # The same inputs each time: what is found by luck belongs into the recorded run.
    @settings(
        max_examples=max(10, round(INPUTS * reader.share)),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False))
    def try_one(random):
        tried(reader, reader.draw(random), tmp_path_factory.mktemp("input"))

    try_one()


def test_valid_files_are_accepted(by_name, tmp_path_factory):
    for reader in by_name.values():
        if reader.example is not None:
            assert tried(reader, reader.example, tmp_path_factory.mktemp("valid")), reader.name


def tried(reader, drawn, place):
    """Returns whether a reader accepts an input."""
    reader.put(drawn, place)
    return attempt(lambda: reader.read(drawn, place), place)


def test_more_episodes_than_fit_are_refused_before_they_are_flown(run):
    with pytest.raises(UserError, match="lower --episodes"):
        command(["evaluate", str(run), "--device", "cpu", "--episodes", "2000000000"])


def test_a_damaged_checkpoint_leaves_nothing_on_the_terminal(run, tmp_path, capfd):
    shutil.copytree(run, tmp_path / "run")
    data = [path for path in (tmp_path / "run" / "checkpoints" / "best").rglob("d/*") if path.is_file()]
    for path in data:
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="damaged checkpoint"):
        command(["inspect", str(tmp_path / "run")])
    # What orbax still reads when it gives up, it gives up a little later.
    time.sleep(0.5)
    assert capfd.readouterr().err == ""
