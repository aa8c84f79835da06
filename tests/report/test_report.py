"""The report's file: its content, its size, and that it needs no other file."""

import base64
import json
import re

import numpy as np
import pytest

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.report import content, flights, page
from raptor_jax.runs import analysis
from tests.report.flights import made_up
from tests.runs.builder import write_run


@pytest.fixture(scope="module")
def report(run_of_4, tmp_path_factory):
    """The text that the command writes."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    assert cli.main(["report", str(run_of_4), "--output", str(path), "--device", "cpu"]) == exit_status.PASSED
    return path.read_text()


def shown(text: str) -> dict:
    """Returns the content that a page's scripts read."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_a_path_in_brackets_is_printed_as_it_is(run_of_4, tmp_path, capsys):
    (tmp_path / "a[").mkdir()
    path = tmp_path / "a[" / "old]b[red].html"
    assert cli.main(["report", str(run_of_4), "--output", str(path), "--device", "cpu"]) == exit_status.PASSED
    assert str(path) in capsys.readouterr().out


def test_a_flight_that_is_not_finite_is_left_out():
    recording = made_up(3, 5, moving=False)
    recording.total_reward[1] = np.nan
    assert [flight is None for flight in flights.pack(recording)] == [False, True, False]


def test_it_shows_the_run(report, run_of_4):
    data = shown(report)
    results = json.loads((run_of_4 / "results.json").read_text())
    assert data["teachers"]["return"] == [pytest.approx(teacher["mean_return"]) for teacher in results["teachers"]]
    assert data["teachers"]["passed"] == [True, True, True, False]
    assert data["teachers"]["position_offset"][3] is None
    assert data["run"]["versions"] == results["run"]["versions"]
    assert len(data["curves"]["reward"]) == 4
    assert data["curves"]["reward"][0][-1] is None
    assert "finished after 8,000 environment steps" in data["about"]


def test_it_flies_the_kept_actors(report):
    data = shown(report)
    assert len(data["flights"]) == 4
    for flight in data["flights"]:
        # The packaged start holds any ordinary drone for a while.
        assert 50 < flight["length"] <= 500
        assert len(base64.b64decode(flight["data"])) == flight["length"] * 18
        assert flight["terminated"] == (flight["length"] < 500)


def test_it_needs_no_other_file(report):
    links = re.findall(r"\w+://[^\"' ]+", report)
    assert set(links) <= {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in report
    assert not re.search(r"\{\{\w+\}\}", report)
    for banned in ("import(", "fetch(", "XMLHttpRequest", "@import", "url("):
        assert banned not in report


@pytest.mark.parametrize("moving", [False, True])
def test_packed_flights_are_close_to_the_recorded(moving):
    recording = made_up(5, 200, moving=moving)
    for row, packed in enumerate(flights.pack(recording)):
        length = packed["length"]
        assert length == recording.length[row]
        data = base64.b64decode(packed["data"])
        position = np.frombuffer(data, "<i2", 3 * length).reshape(length, 3) * packed["metres"]
        orientation = np.frombuffer(data, "<i2", 4 * length, 6 * length).reshape(length, 4) / 32767
        motors = np.frombuffer(data, "u1", 4 * length, 14 * length).reshape(length, 4) / 255
        # Half a unit each: 15 micrometres in a metre.
        np.testing.assert_allclose(position, recording.position[row, :length], atol=2e-5)
        np.testing.assert_allclose(orientation, recording.orientation[row, :length], atol=2e-5)
        np.testing.assert_allclose(2 * motors - 1, recording.action[row, :length], atol=1 / 255)
        assert packed["moving"] == moving
        if moving:
            target = np.frombuffer(data, "<i2", 3 * length, 18 * length).reshape(length, 3) * packed["metres"]
            np.testing.assert_allclose(target, recording.target_position[row, :length], atol=2e-5)


def test_a_thousand_teachers_with_moving_targets_stay_below_20_mb(run_of_1000):
    recording = made_up(1000, 500, moving=True)
    recording = recording._replace(length=np.full(1000, 500))
    text = page.assemble("Report", content.of(analysis.load(run_of_1000), flights.pack(recording)))
    assert 12e6 < len(text.encode()) < 20e6
    assert len(shown(text)["flights"]) == 1000


def test_text_from_a_run_is_not_interpreted_as_markup(run_of_4):
    data = content.of(analysis.load(run_of_4), [None] * 4)
    data["about"] = "</script><script>alert(1)</script> {{style}}"
    text = page.assemble("<b>", data)
    assert "alert(1)</script>" not in text
    assert shown(text)["about"] == data["about"]
    assert "<title>&lt;b&gt;</title>" in text


def test_flights_are_limited_to_the_hardest_drones(run_of_4, tmp_path, monkeypatch):
    monkeypatch.setattr(page, "FLIGHTS", 2)
    page.write(run_of_4, tmp_path / "report.html")
    data = shown((tmp_path / "report.html").read_text())
    flown = [row for row, flight in enumerate(data["flights"]) if flight]
    assert set(flown) == set(np.argsort(data["teachers"]["return"])[:2])


def test_a_run_without_final_evaluation_shows_its_best_evaluations(tmp_path):
    returns = write_run(tmp_path, 2)
    results = json.loads((tmp_path / "results.json").read_text())
    results["run"]["status"] = "interrupted"
    for teacher in results["teachers"]:
        teacher.update(mean_return=None, passed=None, episode_length=None)
    (tmp_path / "results.json").write_text(json.dumps(results))
    data = content.of(analysis.load(tmp_path), [None, None])
    assert data["return_name"] == "best evaluation so far"
    assert data["teachers"]["return"] == pytest.approx(returns.tolist())
    assert data["teachers"]["passed"] == data["teachers"]["episode_length"] == [None, None]


def test_wrong_input_is_refused(refused, tmp_path, run_of_4):
    write_run(tmp_path / "young", 2)
    assert "results.json: no such file" in refused("report", tmp_path)
    assert "holds no checkpoint" in refused("report", tmp_path / "young")
    for output in (tmp_path / "none" / "report.html", tmp_path):
        assert "--output" in refused("report", run_of_4, "--output", output)
