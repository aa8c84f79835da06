"""The compiled programs that the suite keeps: of every process, complete, and limited in size."""

import os
import random
import subprocess
import sys

from tests import compilation


def test_what_a_process_compiles_is_kept_by_the_same_name_in_every_directory(kept_programs, tmp_path, monkeypatch):
    # No other run has compiled this number.
    program = f"import jax; jax.jit(lambda x: x + {random.random()})(1.0)"
    before = set(os.listdir(kept_programs))
    subprocess.run([sys.executable, "-c", program], check=True)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    subprocess.run([sys.executable, "-c", program], check=True)
    assert set(os.listdir(tmp_path)) & (set(os.listdir(kept_programs)) - before)


def test_workers_get_what_the_others_have_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "KEPT", tmp_path / "kept")
    for name in ("kept", "one", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "a").write_text("program")
    (tmp_path / "other" / "b").write_text("another")
    for name in ("one", "other", "one"):
        compilation.exchange(tmp_path / name)
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"a", "b"}
    assert (tmp_path / "other" / "a").read_text() == "program"


def test_the_programs_compiled_first_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation, "KEPT", tmp_path)
    for age, name in enumerate(("new", "old", "oldest")):
        (tmp_path / name).write_bytes(bytes(10))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    compilation.remove_oldest(20)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "old"}
