"""The installed package: what a wheel carries, and that the layout's rule about imports holds."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Who may be imported, from the bottom of the house to its top; each may import what stands before it.
LAYERS = (
    ("errors",),
    ("config", "storage"),
    ("dynamics",),
    ("simulator",),
    ("sac",),
    ("replay",),
    ("population",),
    ("evaluation", "foundation", "starts", "memory", "checkpoints", "metrics", "progress", "devices", "stopping"),
    ("results", "l2f_simulator", "l2f_evaluation"),
    ("analysis", "rounds", "run_directory"),
    ("trainer", "start_trainer", "judge", "inspection"),
    ("transfer",),
    ("export",),
    ("report",),
    ("library", "gymnasium_env"),
    ("options",),
    ("cli",),
    ("__init__",),
)


def test_a_wheel_carries_the_configurations_and_nothing_of_the_tests(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"raptor_jax/configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml")} <= set(names)
    assert "raptor_jax/runs/warm_start.npz" in names
    platforms = (ROOT / "raptor_jax" / "drones" / "platforms").glob("*.json")
    assert {f"raptor_jax/drones/platforms/{path.name}" for path in platforms} <= set(names)
    page = {f"raptor_jax/report/{path.name}" for path in (ROOT / "raptor_jax" / "report").glob("*.*")}
    assert {"raptor_jax/report/template.html", "raptor_jax/report/page.js"} <= page <= set(names)
    assert not [name for name in names if name.startswith(("tests", "benchmarks"))]


def layer(module: str) -> int:
    part = module.split(".")[1]
    return next(number for number, names in enumerate(LAYERS) if part in names)


@pytest.mark.parametrize("path", sorted((ROOT / "raptor_jax").rglob("*.py")), ids=lambda path: path.name)
def test_imports_point_downwards(path):
    own = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for module in own_imports(path):
        same_part = module.split(".")[1] == own.split(".")[1]
        assert same_part or layer(module) <= layer(own), f"{own} imports {module}"


def own_imports(path: Path) -> list[str]:
    """Returns the modules of raptor_jax that a file imports from."""
    modules = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "raptor_jax":
            modules += [f"raptor_jax.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("raptor_jax."):
            modules.append(node.module)
    return modules


def test_only_checkpoints_imports_orbax():
    users = {path.name for path in (ROOT / "raptor_jax").rglob("*.py") if "orbax" in imported(path)}
    assert users == {"checkpoints.py"}


def imported(path: Path) -> set[str]:
    """Returns the top-level names of the packages that a file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.split(".")[0] for name in plain} | {
        node.module.split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom) and node.module
    }
