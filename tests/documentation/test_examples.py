"""The examples, run as a user runs them."""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("name", ["reward_curves", "inspect_checkpoint"])
def test_a_notebook_is_made_from_its_script(name):
    script = jupytext.read(EXAMPLES / f"{name}.py")
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    assert contents(notebook) == contents(script), f"make it anew: jupytext --to ipynb examples/{name}.py"


def contents(notebook) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def executed(name: str, run: Path, directory: Path) -> list:
    """Returns the outputs of a notebook that is executed beside `experiments`, the directory of a run."""
    (directory / "experiments").symlink_to(run.parent)
    (directory / "examples").mkdir()
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": directory / "examples"}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.get("name") == "stderr"], printed(outputs)
    return outputs


def printed(outputs: list) -> str:
    return "".join(output.text for output in outputs if output.output_type == "stream")


def shown(outputs: list, kind: str) -> int:
    return sum(kind in output.get("data", {}) for output in outputs)


# Quickstart's four, and a whole population.
@pytest.mark.parametrize("teachers", [4, 1000])
def test_the_reward_curves(tmp_path, teachers, request):
    outputs = executed("reward_curves", request.getfixturevalue(f"run_of_{teachers}"), tmp_path)
    text = printed(outputs)
    assert f"{teachers} teachers, {teachers - 1} passed (mean return above 200)" in text
    assert "never above the pass return: 1 teachers" in text
    assert f"\n1 of {teachers}\n" in text
    assert shown(outputs, "image/png") == 4
    assert shown(outputs, "text/html") == 3


def test_a_checkpoint_becomes_a_flight(tmp_path, run_of_4):
    outputs = executed("inspect_checkpoint", run_of_4, tmp_path)
    text = printed(outputs)
    assert "['hidden_0']['kernel'] (4, 26, 64) float32" in text
    assert float(re.search(r"raptor_jax's own actor: (\S+)", text).group(1)) < 1e-5
    assert re.search(r"\d+ steps, return -?\d", text)
    assert shown(outputs, "image/png") == 2
