"""The output directory of a run: how it is taken."""

import errno
import fcntl

import pytest
from rich.console import Console

from raptor_jax.config import Config
from raptor_jax.errors import UserError
from raptor_jax.runs import directory, layout


def take(path):
    with directory.own(path, Config(), Console(quiet=True), keep=False):
        pass


def test_a_link_to_another_run_is_renamed_and_that_run_is_unchanged(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "precious").touch()
    (tmp_path / "run").symlink_to(tmp_path / "scratch")
    take(tmp_path / "run")
    assert (tmp_path / "run.previous-1" / "precious").exists()
    assert (tmp_path / "run.previous-1").is_symlink()
    assert not (tmp_path / "run").is_symlink()
    assert layout.config_file(tmp_path / "run").exists()


def test_a_file_system_without_locks_is_reported(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(UserError, match=f"{tmp_path}: cannot be written: No locks available"):
        take(tmp_path)
