"""The installed package: what a wheel carries."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_wheel_carries_the_configurations_and_nothing_of_the_tests(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"raptor_jax/configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml")} <= set(names)
    assert {"raptor_jax/py.typed", "raptor_jax/runs/warm_start.npz"} <= set(names)
    platforms = (ROOT / "raptor_jax" / "drones" / "platforms").glob("*.json")
    assert {f"raptor_jax/drones/platforms/{path.name}" for path in platforms} <= set(names)
    page = {f"raptor_jax/report/{path.name}" for path in (ROOT / "raptor_jax" / "report").glob("*.*")}
    assert {"raptor_jax/report/template.html", "raptor_jax/report/page.js"} <= page <= set(names)
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "validation"))]
