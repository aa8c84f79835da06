"""The README's Python, run as it stands on a run."""

import re
import textwrap
from pathlib import Path

import numpy as np

from raptor_jax.runs import layout, results

README = (Path(__file__).parents[2] / "README.md").read_text()


def blocks(first_line: str) -> str:
    """Returns the indented block of the README that begins with a line."""
    (found,) = re.findall(rf"(?m)(?:^    {re.escape(first_line)}\n(?:    .*\n)+)", README)
    return textwrap.dedent(found)


def test_plain_orbax_opens_a_checkpoint_in_five_lines(run_of_4):
    step = results.read(run_of_4 / layout.RESULTS).run.step
    code = blocks("import orbax.checkpoint as ocp")
    assert len(code.splitlines()) == 5
    assert "raptor_jax" not in code
    path = str((run_of_4 / layout.best_arrays(step)).absolute())
    code = code.replace("/absolute/path/to/run/checkpoints/best/STEP/default", path)
    names = {}
    exec(code, names)
    kept = names["kept"]
    assert kept["actor"]["hidden_0"]["kernel"].shape == (4, 26, 64)
    assert kept["critic"]["hidden_0"]["kernel"].shape == (4, 2, 36, 32)
    assert kept["alpha"].shape == (4,)
    np.testing.assert_array_equal(kept["teacher_id"], np.arange(4))


def test_the_curves_open_as_arrays(run_of_4, monkeypatch, tmp_path):
    (tmp_path / "experiments").symlink_to(run_of_4.parent)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(blocks("from raptor_jax import analysis"), names)
    population = names["population"]
    assert population.evaluation["reward"].shape == (4, len(population.evaluation.step))
    assert population.teachers["thrust_to_weight"].shape == (4,)
