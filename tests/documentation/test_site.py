"""The documentation site: it builds without a warning and without the network, and its reference is complete."""

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from raptor_jax import cli, config
from raptor_jax.commands import exit_status

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory)]
    # A connection to a proxy that does not exist fails.
    nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}
    variables = {**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    finished = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "WARNING" not in finished.stderr
    return directory


def text_of(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text()))


def test_every_page_is_in_the_site(site):
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.stem for path in site.glob("*.html")}
    assert {"start", "concepts", "gpu", "resume", "run"} <= pages
    assert (site / "examples" / "my_quadrotor.yaml").read_bytes() == (ROOT / "examples/my_quadrotor.yaml").read_bytes()


def test_the_reference_has_every_command_setting_function_and_status(site):
    settings = text_of(site / "reference" / "settings.html")
    for key in config.all_keys():
        assert f"\n{key.partition('.')[2]}\n" in settings, key
    commands = (site / "reference" / "commands.html").read_text()
    for name in cli.COMMANDS:
        assert f'<h2 id="{name}">' in commands
    statuses = {value for value in vars(exit_status).values() if isinstance(value, int)}
    assert all(f"<td><code>{status}</code></td>" in commands for status in statuses)
    api = (site / "reference" / "api.html").read_text()
    classes = ("runs.analysis.Population.to_dataframe", "gymnasium_env.QuadrotorEnv")
    for name in ("api.train", "api.sample_drones", *classes):
        assert f'id="raptor_jax.{name}"' in api


def test_no_page_fetches_anything(site):
    elsewhere = r"<(?:script|img|iframe)[^>]+src=[\"']?https?:|<link[^>]+href=[\"']?https?:"
    for page in site.rglob("*.html"):
        assert not re.findall(elsewhere, page.read_text()), page
    for sheet in site.rglob("*.css"):
        assert "url(http" not in sheet.read_text()


def test_the_script_that_builds_it_is_valid():
    subprocess.run(["bash", "-n", ROOT / "scripts" / "docs.sh"], check=True)
