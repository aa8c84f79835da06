"""The commands and the Python of the pages in docs/, run as they stand in the order of the page.

Two pages have separate tests, tests/documentation/test_fly_your_own.py and tests/test_api.py. Long commands are
shortened: the quickstart trains with small settings; other trainings only check their input and output and write a run
without training; benchmarks only parse their arguments; scripts of a scheduler are only checked for their syntax.
"""

import argparse
import importlib
import importlib.util
import itertools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import jax
import pytest
from rich.console import Console

from raptor_jax import cli, student
from raptor_jax.commands import exit_status
from raptor_jax.config import SamplingConfig, build
from raptor_jax.drones import sampling
from raptor_jax.runs import student_file
from raptor_jax.training import loop, startup
from raptor_jax.utils.files import move_aside
from tests.documentation.pages import DOCS, Block, blocks, commands
from tests.documentation.test_fly_your_own import TINY
from tests.runs.builder import write_actors, write_run

ROOT = DOCS.parent
OWN_TESTS = {"fly_your_own", "library"}
PAGES = [path.stem for path in sorted(DOCS.glob("*.md")) if blocks(path.read_text())]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]
RUN = "experiments/pre_training"
"""What RUN stands for in the pages."""
STUDENT = "experiments/student"
"""What STUDENT stands for."""
TEACHERS = 50
"""Of that run; pages name teachers up to 49."""
DRONES = 10
TINY_STUDENT = {"iterations": 2, "episodes": 8, "batch-episodes": 4, "width": 4}
SMALLER = {
    "sample": [f"--num-drones={DRONES}"],
    "train": ["--device=cpu"],
    "ceiling": ["--episodes=1"],
    "distill": ["--device=cpu", *(f"--distillation.{name}={value}" for name, value in TINY_STUDENT.items())],
}
"""Options by command, which replace those of the page."""
TRAINED = "configs/quickstart.yaml"
"""The settings of the only training that is really run."""


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """The working directory of a reader, with the directories of a checkout."""
    for name in ("configs", "constraints", "examples", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("raptor_jax.training.warm_start.train_start", lambda *_: None)
    return tmp_path


def add_run(directory: Path) -> None:
    """Adds a finished run and its drones."""
    small = {"environment": {"episode_steps": 20}, "training": {"final_eval_episodes": 2, "pass_return": -1e6}}
    write_run(directory / RUN, TEACHERS, settings=build(small, {}, "test"))
    write_actors(directory / RUN)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.l2f) if page == "parity" else page
        for page in PAGES
        if page not in OWN_TESTS
    ],
)
def test_a_page_runs(page, directory, monkeypatch):
    found = blocks((DOCS / f"{page}.md").read_text())
    words = " ".join(block.text for block in found if block.kind != "script")
    if page != "start":
        sampling.write_drones(directory / "data" / "dynamics", SamplingConfig(), DRONES)
        sampling.write_drones(directory / "data" / "other_drones", SamplingConfig(seed=1), DRONES)
    if re.search(rf"\bRUN\b|{RUN}", words):
        add_run(directory)
    if "STUDENT" in words:
        student_file.save(directory / STUDENT / student_file.NAME, student.create(16, jax.random.key(0)), {})
    names: dict[str, object] = {}
    for block in found:
        if block.kind == "python":
            exec(compile(block.text, page, "exec"), names)
        elif block.kind == "script":
            subprocess.run(["bash", "-n", "-c", block.text], check=True)
        else:
            for command in commands(block):
                run(command, monkeypatch)


def test_every_page_with_something_to_run_is_known():
    assert set(PAGES) > OWN_TESTS
    assert {"start", "gpu", "resume", "run", "evaluation", "export", "speed", "parity"} < set(PAGES)
    page = """
text

    raptor-jax sample
    other

```python
x = 1
```
```bash title="not run by the tests"
srun a
```
"""
    assert blocks(page) == [Block("bash", "raptor-jax sample"), Block("python", "x = 1\n"), Block("script", "srun a\n")]


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs one command of a page, or checks as much of it as can be checked here."""
    program, *arguments = shlex.split(command)
    if program == "taskset":
        program, *arguments = arguments[2:]
    if program == "raptor-jax":
        run_raptor_jax(arguments, monkeypatch)
    elif program == "python" and arguments[0] == "-m" and arguments[1].startswith("benchmarks."):
        parse_only(arguments[1], arguments[2:], monkeypatch)
    elif program == "pip":
        check_installation(arguments)
    elif program == "tensorboard":
        assert Path(arguments[arguments.index("--logdir") + 1]).is_dir()
    else:
        pytest.fail(f"{command}: not run by anything; write how it is tested, or mark its block")


def run_raptor_jax(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if any(extra in arguments and importlib.util.find_spec(extra) is None for extra in ("l2f", "onnx")):
        return
    arguments = [{"RUN": RUN, "STUDENT": STUDENT}.get(argument, argument) for argument in arguments]
    small = [f"--{key}={value}" for key, value in TINY.items()] if arguments[0] == "train" else []
    more = small if TRAINED in arguments else SMALLER.get(arguments[0], [])
    with monkeypatch.context() as patched:
        if TRAINED not in arguments:
            patched.setattr("raptor_jax.training.loop.train", pretend_to_train)
        status = cli.main([*arguments, *more])
    # An untrained student passes nowhere.
    untrained = arguments[0] == "evaluate" and STUDENT in arguments
    assert status == (exit_status.NOT_PASSED if untrained else exit_status.PASSED), arguments


def pretend_to_train(job: loop.Job, console: Console, overwrite: bool, resume: bool) -> loop.Ending:
    """Checks the input as a training does before it begins; writes a run without a checkpoint."""
    if startup.require_directory(job, console, overwrite, resume):
        return loop.Ending.PASSED
    if overwrite:
        move_aside(job.output_dir)
    write_run(job.output_dir, len(job.files), settings=job.config)
    return loop.Ending.PASSED


def parse_only(module: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts a benchmark and stops it where it has parsed its arguments."""
    parsed = argparse.ArgumentParser.parse_args

    class Stop(Exception):
        pass

    def stop(*given, **named):
        parsed(*given, **named)
        raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(argparse.ArgumentParser, "parse_args", stop)
        patched.setattr(sys, "argv", [module, *arguments])
        with pytest.raises(Stop):
            importlib.import_module(module).main()


def check_installation(arguments: list[str]) -> None:
    """Checks that the files that a command names exist; its extras are checked with those of all pages."""
    assert arguments[0] == "install"
    for option, value in itertools.pairwise(arguments):
        assert option != "-c" or os.path.isfile(value)
        assert option != "-e" or value.startswith(".")


def test_extras_that_a_page_names_exist():
    named = {
        extra
        for path in DOCS.glob("*.md")
        for extras in re.findall(r"(?:raptor-jax|\.)\[([a-z0-9,]+)\]'", path.read_text())
        for extra in extras.split(",")
    }
    assert named <= tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"].keys()


def test_tests_that_a_page_names_exist():
    named = {name for path in DOCS.glob("*.md") for name in re.findall(r"`(test_\w+)`", path.read_text())}
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 20
    assert not [name for name in named if f"def {name}(" not in tests]
