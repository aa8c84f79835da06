"""The examples, run as a user runs them."""

from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_notebook_is_made_from_the_script():
    script = jupytext.read(EXAMPLES / "reward_curves.py")
    notebook = nbformat.read(EXAMPLES / "reward_curves.ipynb", as_version=4)
    assert contents(notebook) == contents(script), "make it anew: jupytext --to ipynb examples/reward_curves.py"


def contents(notebook) -> list[tuple[str, str]]:
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


# Quickstart's four, and a whole population.
@pytest.mark.parametrize("teachers", [4, 1000])
def test_the_notebook_runs(tmp_path, teachers, request):
    run = request.getfixturevalue(f"run_of_{teachers}")
    (tmp_path / "experiments").symlink_to(run.parent)
    notebook = nbformat.read(EXAMPLES / "reward_curves.ipynb", as_version=4)
    (tmp_path / "examples").mkdir()
    NotebookClient(notebook, resources={"metadata": {"path": tmp_path / "examples"}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    assert f"{teachers} teachers, {teachers - 1} passed (mean return above 200)" in text
    assert "never above the pass return: 1 teachers" in text
    assert f"\n1 of {teachers}\n" in text
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert not [output for output in outputs if output.get("name") == "stderr"], text
