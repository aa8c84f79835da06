"""Exported files: written by the command, read and compiled as the documentation says."""

import json
import re
import subprocess
from pathlib import Path

import h5py
import numpy as np
import onnxruntime

from raptor_jax import cli
from raptor_jax.commands import exit_status
from tests.documentation.pages import DOCS, blocks

COMPILE = ("gcc", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-std=c99", "-O2")
MAIN = """
#include <stdio.h>
#include "{header}"

int main(void)
{{
    float observation[{inputs}], action[4];
    {prepare}
    while (fread(observation, sizeof observation, 1, stdin) == 1) {{
        {act}
        fwrite(action, sizeof action, 1, stdout);
    }}
    return 0;
}}
"""


def export(source: Path, format: str, output: Path) -> list[Path]:
    """Runs the command, and returns the files that it writes into an empty directory."""
    arguments = ["export", str(source), "--format", format, "--output", str(output)]
    assert cli.main(arguments) == exit_status.PASSED
    return sorted(output.iterdir())


def documented(page: str) -> dict:
    """Returns the names that the first Python of a page defines."""
    names: dict = {}
    exec(next(block.text for block in blocks((DOCS / page).read_text()) if block.kind == "python"), names)
    return names


def provenance(path: Path) -> dict:
    """Returns the provenance in a file of any format."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return json.loads(str(arrays["provenance"]))
    if path.suffix == ".onnx":
        return json.loads(onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map["provenance"])
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return json.loads(file["actor"].attrs["meta"])["raptor_jax"]
    return json.loads(re.search(r"^\{.*?^\}$", path.read_text(), re.DOTALL | re.MULTILINE).group())


def listing(file: h5py.File) -> dict:
    """Returns shape and attributes of everything in a file, by name."""
    found = {}
    file.visititems(lambda name, item: found.update({name: (getattr(item, "shape", None), dict(item.attrs))}))
    return found


def compiled_actions(
    header: Path, directory: Path, observations: np.ndarray, act: str, prepare: str = ""
) -> np.ndarray:
    """Returns the actions [..., 4] of a C99 program, which acts on one observation [..., N] after another."""
    source, program, inputs = directory / "main.c", directory / "main", observations.shape[-1]
    source.write_text(MAIN.format(header=header, inputs=inputs, act=act, prepare=prepare))
    subprocess.run([*COMPILE, source, "-o", program, "-lm"], check=True)
    found = subprocess.run([program], input=observations.tobytes(), capture_output=True, check=True).stdout
    return np.frombuffer(found, np.float32).reshape(*observations.shape[:-1], 4)
