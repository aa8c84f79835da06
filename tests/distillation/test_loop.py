"""The host loop of a distillation: what it writes, how it stops, and how it is resumed."""

import json
import shutil

import jax
import numpy as np
import pytest
from rich.console import Console

from raptor_jax.distillation import Ending, Job, distill
from raptor_jax.errors import UserError
from raptor_jax.runs import checkpoints, layout, stored_config, student_file
from raptor_jax.training.signals import Requests
from tests.runs.builder import write_actors, write_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

SETTINGS = {
    "environment.episode_steps": 20,
    "training.final_eval_episodes": 2,
    "distillation.width": 4,
    "distillation.iterations": 8,
    "distillation.episodes": 8,
    "distillation.batch_episodes": 4,
    "distillation.epochs": 1,
    "distillation.guided_iterations": 2,
    "distillation.eval_frequency": 4,
    "distillation.eval_episodes": 2,
    "distillation.checkpoint_frequency": 2,
    "distillation.log_frequency": 2,
}


def run_job(run, output_dir, resume=False, **settings) -> Ending:
    settings = SETTINGS | {f"distillation.{key}": value for key, value in settings.items()}
    what = Job(run, stored_config.load(layout.config_file(run), settings), output_dir)
    return distill(what, Console(quiet=True), resume=resume)


def weights_of(directory):
    return student_file.load(directory)[0]


def student_results(directory) -> dict:
    return json.loads((directory / layout.STUDENT_RESULTS).read_text())


@pytest.fixture(scope="module")
def finished(run_of_4, tmp_path_factory):
    """A finished distillation of three teachers; the fourth did not pass."""
    output = tmp_path_factory.mktemp("student") / "student"
    assert run_job(run_of_4, output) is Ending.FINISHED
    return output


def test_only_teachers_that_passed_are_distilled(finished):
    results = student_results(finished)
    assert (results["status"], results["teachers"], results["left_out"]) == ("finished", [0, 1, 2], [3])
    assert [entry["teacher_id"] for entry in results["drones"]] == [0, 1, 2]
    assert [point["iteration"] for point in results["curve"]] == [4, 8]
    assert results["final"]["drones"] == 3


def test_the_students_file_holds_the_best_student_and_how_it_was_made(finished):
    weights, provenance = student_file.load(finished)
    results = student_results(finished)
    best = max(results["curve"], key=lambda point: point["returns"]["mean"])
    assert provenance["iteration"] == best["iteration"]
    assert provenance["mean_return"] == pytest.approx(best["returns"]["mean"], rel=1e-6)
    assert weights["params"]["input"]["bias"].shape == (4,)
    assert checkpoints.load_kept_student(finished, 8)["iteration"] == best["iteration"]


def test_a_stopped_and_resumed_distillation_gives_the_same_student(finished, run_of_4, tmp_path, monkeypatch):
    class StopAtOnce(Requests):
        def __init__(self) -> None:
            self.stop = True

    student = tmp_path / "student"
    with monkeypatch.context() as patched:
        patched.setattr("raptor_jax.training.signals.Requests", StopAtOnce)
        assert run_job(run_of_4, student) is Ending.STOPPED
    assert checkpoints.resumable_steps(student) == [2]
    assert student_results(student)["status"] == "interrupted"
    assert run_job(run_of_4, student, resume=True) is Ending.FINISHED
    jax.tree.map(np.testing.assert_array_equal, weights_of(student), weights_of(finished))
    for name in ("curve", "final"):
        assert student_results(student)[name] == student_results(finished)[name]


def test_a_damaged_checkpoint_falls_back_to_the_previous_one(finished, run_of_4, tmp_path):
    student = tmp_path / "student"
    shutil.copytree(finished, student)
    for path in layout.checkpoint(student, layout.LATEST, 8).rglob("d/*"):
        path.write_bytes(b"damaged")
    assert run_job(run_of_4, student, resume=True) is Ending.FINISHED
    jax.tree.map(np.testing.assert_array_equal, weights_of(student), weights_of(finished))


def test_conflicting_requests_are_refused(finished, run_of_4, tmp_path):
    with pytest.raises(UserError, match="already holds a run"):
        run_job(run_of_4, finished)
    with pytest.raises(UserError, match=r"other settings: distillation\.width 5 \(was 4\)"):
        run_job(run_of_4, finished, width=5, resume=True)
    other = tmp_path / "other"
    write_run(other, 4, seed=1)
    write_actors(other)
    with pytest.raises(UserError, match="was distilled from other teachers"):
        run_job(other, finished, resume=True)
    assert weights_of(finished)


def test_a_run_without_a_teacher_that_passed_is_refused(run_of_4, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(run_of_4, run)
    settings = layout.config_file(run)
    settings.write_text(settings.read_text().replace("pass_return: 200.0", "pass_return: 9000.0"))
    with pytest.raises(UserError, match=r"no teacher has a mean return above training\.pass_return 9000"):
        run_job(run, tmp_path / "student")
    assert not (tmp_path / "student").exists()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nowhere"], "nowhere: holds no checkpoints; name the output directory of a run"),
        (["RUN", "--distillation.batch-episodes", "7"], "batch_episodes 7 does not divide episodes 512"),
        (["RUN", "--distillation.width", "0"], "--distillation.width: '0' should be greater than 0"),
        (["RUN", "--resume", "--output-dir", "nothing"], "nothing: holds no run to resume"),
    ],
)
def test_the_command_refuses_in_one_line(run_of_4, refused, monkeypatch, tmp_path, arguments, problem):
    monkeypatch.chdir(tmp_path)
    named = [run_of_4 if argument == "RUN" else argument for argument in arguments]
    assert problem in refused("distill", *named, "--device", "cpu")
