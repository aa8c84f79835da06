"""The README: its Python code runs, and its links lead to files."""

import re
import textwrap
from pathlib import Path

import numpy as np

import raptor_jax
from raptor_jax import analysis

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_python_runs(run_of_4, monkeypatch):
    (code,) = re.findall(r"(?m)^    import numpy as np\n(?:(?:    .*)?\n)+?(?=\S)", README)
    trained = []

    def train(drones, output_dir, config):
        trained.append((len(drones), output_dir))
        return analysis.load(run_of_4)

    # The training is the quickstart's, which another test runs.
    monkeypatch.setattr(raptor_jax, "train", train)
    replaced = textwrap.dedent(code).replace('"experiments/readme"', repr(str(run_of_4)))
    names = {}
    exec(replaced, names)
    assert trained == [(4, str(run_of_4))]
    assert len(names["population"]) == 4
    assert np.shape(names["teacher"].action([0.0] * 26)) == (4,)


def test_every_link_leads_to_a_file():
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if not link.startswith("http")]
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []
