"""Input that is small on disk and huge in memory, and findings of the fuzz runs: each gives a one-line error."""

import functools
import json
import os
import zipfile

import numpy as np
import pytest

from raptor_jax import cli, config
from raptor_jax.commands import exit_status
from raptor_jax.drones import files, sampling
from raptor_jax.runs import curves, warm_start
from validation.fuzz import mutations
from validation.fuzz.trial import command, refusal

# A refusal must write nothing, compiled programs included.
pytestmark = pytest.mark.usefixtures("compiled_anew")

MEGABYTE = 2**20


def load_start(path):
    warm_start.load(config.build({}, {"training.start": str(path)}, "test"))


LAUGHS = "a: &a {tau: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join(f'*{old}' for _ in range(9))}]}}\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (LAUGHS, "aliases are not supported"),
        ("sac: &a [" + ", ".join(["*a"] * 1000) + "]", "aliases are not supported"),
        ("sac:\n  tau: " + "[" * 20_000, "not readable as YAML"),
        ("sac:\n  tau: " + "9" * 20_000, "not readable as YAML"),
        ("sac:\n  tau: 2020-99-99", "should be a valid number"),
        ("sac:\n  tau: !!timestamp x", "not readable as YAML"),
        ("sac:\n  tau: !!int ''", "not readable as YAML"),
        ("sac:\n  gamma: " + "x" * 60_000, "should be a valid number"),
        ("training:\n  eval_episodes: 1" + "0" * 30, "training.eval_episodes"),
    ],
)
def test_a_configuration_that_explodes(tmp_path, content, expected):
    path = tmp_path / "a.yaml"
    path.write_text(content)
    assert expected in refusal(lambda: config.load(path), tmp_path)


@pytest.mark.parametrize("unit", ["[", '{"a":', " "])
def test_texts_of_a_hundred_megabytes(tmp_path, unit):
    text = unit * (100 * MEGABYTE // len(unit))
    for name in ("results.json", "0.json", "a.yaml"):
        (tmp_path / name).write_text(text)
    assert "larger than the limit" in refusal(lambda: command(["inspect", str(tmp_path)]), tmp_path)
    assert "larger than the limit" in refusal(lambda: files.load_drone(tmp_path / "0.json"), tmp_path)
    assert "larger than the limit" in refusal(lambda: config.load(tmp_path / "a.yaml"), tmp_path)


def test_an_archive_that_decompresses_beyond_the_limit(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("teacher_id.npy", "w") as entry:
        for _ in range(70):
            entry.write(bytes(MEGABYTE))
    assert path.stat().st_size < MEGABYTE
    assert "unpacks to" in refusal(lambda: load_start(path), tmp_path)


@pytest.mark.parametrize("header", mutations.HEADERS)
def test_an_array_whose_header_lies(tmp_path, header):
    lying = mutations.npy_claiming(header, bytes(16))
    (tmp_path / "a.npz").write_bytes(mutations.npz_bytes([("teacher_id.npy", lying)]))
    assert refusal(lambda: curves.load_curves(tmp_path / "a.npz"), tmp_path)
    (tmp_path / "b.npz").write_bytes(lying)
    assert refusal(lambda: load_start(tmp_path / "b.npz"), tmp_path)


def test_inconsistent_curves(tmp_path):
    for arrays in ({"train_step": np.zeros(2)}, {"teacher_id": np.zeros(2), "eval_reward": np.zeros((3, 2))}):
        np.savez(tmp_path / "curves.npz", **arrays)
        assert "restore the file" in refusal(lambda: curves.load_curves(tmp_path / "curves.npz"), tmp_path)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.mkdir()])
def test_pipes_devices_and_directories_are_refused(tmp_path, make):
    path = tmp_path / "0.json"
    make(path)
    for read in (files.load_drone, load_start, curves.load_curves):
        assert "not a file" in refusal(functools.partial(read, path), tmp_path)
    path.rename(tmp_path / "results.json")
    assert "not a file" in refusal(lambda: command(["inspect", str(tmp_path)]), tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--config", "x" * 5000),
        ("train", "--dynamics-dir", "x" * 5000),
        ("train", "--num-teachers", "9" * 5000),
        ("train", "--drone", "x" * 5000),
        ("train", "--drone", "race", "--output-dir", "x" * 5000),
        ("train", "--drone", "race", "--output-dir", "x" * 5000, "--resume"),
        ("train", "--drone", "race", "--output-dir", "x" * 5000, "--overwrite"),
        ("train-start", "--dynamics-dir", "x" * 5000),
        ("evaluate", "x" * 5000),
        ("evaluate", "nowhere", "--json", "x" * 5000),
        ("evaluate", "nowhere", "--matrix", "x" * 5000),
        ("report", "x" * 5000),
        ("report", "nowhere", "--output", "x" * 5000),
        ("export", "x" * 5000, "--format", "npz"),
        ("rollout", "x" * 5000),
        ("inspect", "x" * 5000, "--teacher", "0"),
        ("evaluate", "nowhere", "--episodes", "1" + "0" * 30),
        ("inspect", "x" * 5000),
        ("inspect", "a\nb\x1b[2J"),
        ("inspect", "\x1b" * 5000),
    ],
)
def test_arguments_of_any_length_and_kind(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert refusal(lambda: command(arguments), tmp_path)


def test_a_link_in_the_directory_of_drones_is_replaced_and_not_followed(tmp_path, capsys):
    outside, drones = tmp_path / "outside.txt", tmp_path / "drones"
    outside.write_text("precious")
    drones.mkdir()
    for name in ("distribution.txt", "distribution.png"):
        (drones / name).symlink_to(outside)
    assert cli.main(["sample", "--num-drones", "2", "--dynamics-dir", str(drones)]) == exit_status.PASSED
    assert outside.read_text() == "precious"
    assert "thrust-to-weight" in (drones / "distribution.txt").read_text()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, [1, {"deep": float("nan")}]])
def test_metadata_that_could_not_be_written_again(tmp_path, value):
    sampling.write_drones(tmp_path, config.SamplingConfig(), 1)
    path = tmp_path / "0000.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"metadata": {"seed": value}}))
    assert "metadata.seed" in refusal(lambda: files.load_drone(path), tmp_path)


def test_names_and_texts_with_markup_are_shown_as_they_are(tmp_path, capsys):
    # The directory's and the file's name together are the path's closing tag.
    directory = tmp_path / "[b]["
    sampling.write_drones(directory, config.SamplingConfig(), 1)
    path = (directory / "0000.json").rename(directory / "red].json")
    assert cli.main(["inspect", str(path)]) == exit_status.PASSED
    assert "[b][/red].json" in capsys.readouterr().out
