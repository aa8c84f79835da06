"""The installed package: what a wheel carries, how it installs, and what the files beside it say about it."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(directory), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = directory.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """The programs of a fresh environment with the wheel; it sees the other packages of this environment."""
    directory = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    (site,) = directory.glob("lib/python*/site-packages")
    (site / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    python = directory / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--ignore-installed", wheel], check=True)
    return directory / "bin"


def test_a_wheel_carries_the_configurations_and_nothing_of_the_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"raptor_jax/configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml")} <= set(names)
    assert {"raptor_jax/py.typed", "raptor_jax/runs/warm_start.npz"} <= set(names)
    platforms = (ROOT / "raptor_jax" / "drones" / "platforms").glob("*.json")
    assert {f"raptor_jax/drones/platforms/{path.name}" for path in platforms} <= set(names)
    page = {f"raptor_jax/report/{path.name}" for path in (ROOT / "raptor_jax" / "report").glob("*.*")}
    assert {"raptor_jax/report/template.html", "raptor_jax/report/page.js"} <= page <= set(names)
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "validation"))]


def test_a_wheel_works_in_a_fresh_environment(environment, tmp_path):
    def output(*command):
        # This checkout must not be found by accident.
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        finished = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    program = "import raptor_jax; print(raptor_jax.__file__, raptor_jax.__version__)"
    file, version = output(environment / "python", "-c", program).split()
    assert Path(file).is_relative_to(environment.parent)
    assert version == PROJECT["version"]
    assert output(environment / "raptor-jax", "--version").strip() == version
    shipped = sorted(path.name for path in (ROOT / "configs").glob("*.yaml"))
    program = f"from raptor_jax import config; [config.load('configs/' + name) for name in {shipped}]"
    output(environment / "python", "-c", program)
    assert "wrote 2 drones" in output(environment / "raptor-jax", "sample", "--num-drones", "2", "--dynamics-dir", "d")
    assert "thrust-to-weight" in output(environment / "raptor-jax", "inspect", "race")


def test_the_changelog_and_the_citation_are_of_this_version():
    version, date = re.search(r"(?m)^## (\S+) \((\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text()).groups()
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert version == citation["version"] == PROJECT["version"]
    assert date == str(citation["date-released"])
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    titles = [reference["title"].partition(":")[0] for reference in citation["references"]]
    assert titles == ["RAPTOR", "Learning to Fly in Seconds"]


def test_the_constraints_name_every_package_that_the_program_needs():
    lines = (ROOT / "constraints" / "python-3.11.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]} <= pins.keys()
    for text in PROJECT["dependencies"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)])


def test_the_hooks_and_the_workflows_run_what_the_test_script_runs():
    tests = (ROOT / "scripts" / "test.sh").read_text()
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in local["hooks"]:
        assert re.search(rf"(?m)^{hook['name']}\b", tests)
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            for command in (step["run"] for step in job["steps"] if "run" in step):
                subprocess.run(["bash", "-n", "-c", command], check=True)
                program = command.split()[0]
                assert "/" not in program or os.access(ROOT / program, os.X_OK), command
