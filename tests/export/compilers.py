"""Compiled programs that include exported headers or read exported files."""

import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

COMPILE = ("gcc", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-std=c99", "-O2")


def compiled_c(directory: Path, source: str) -> Path:
    """Returns the program of a C99 source."""
    (directory / "main.c").write_text(source)
    program = directory / "main"
    subprocess.run([*COMPILE, str(directory / "main.c"), "-o", str(program), "-lm"], check=True)
    return program


def compiled_with_rltools(directory: Path, source: Path) -> Path:
    """Returns the program of a C++ file that includes RLtools' headers; skips the test where they are not installed."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    try:
        files = metadata.files("rltools") or []
    except metadata.PackageNotFoundError:
        pytest.skip("needs the package rltools")
    headers = next(Path(str(file.locate())).resolve() for file in files if file.name == "rl_tools.h").parents[1]
    program = directory / source.stem
    command = ["g++", "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-isystem", str(headers)]
    subprocess.run([*command, str(source), "-o", str(program)], check=True)
    return program
