"""Every reader of the package, as something to try hostile input on."""

import contextlib
import functools
import json
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import yaml
from flax import traverse_util

from raptor_jax import config, evaluation, sac, student
from raptor_jax.drones import files, sampling
from raptor_jax.drones.parameters import stack
from raptor_jax.drones.repair import write_repaired
from raptor_jax.inspection.drone import describe_drone
from raptor_jax.population import best
from raptor_jax.population import sac as populations
from raptor_jax.runs import analysis, checkpoints, layout, student_file, warm_start
from raptor_jax.runs.curves import Curves
from raptor_jax.runs.results import Results
from raptor_jax.utils.files import write_json, write_text
from validation.fuzz import mutations
from validation.fuzz.trial import command

SETTINGS = config.build(
    {
        "environment": {"environments_per_teacher": 2, "episode_steps": 5},
        "sac": {"horizon": 4, "actor_hidden_dim": 8, "critic_hidden_dim": 8},
        "training": {"steps_per_teacher": 64, "final_eval_episodes": 2},
    },
    {},
    "test",
)
TEACHERS = 2
STEP = 64


class Reader(NamedTuple):
    """One reader, and how an input reaches it."""

    name: str
    draw: Callable[[Random], Any]
    put: Callable[[Any, Path], Any]
    """Lays an input into an empty directory."""
    read: Callable[[Any, Path], Any]
    """Reads what was laid there; UserError where it is refused."""
    share: float
    """Of the inputs of a recorded run: a reader that opens checkpoints gets fewer of them."""
    example: bytes | None = None
    """A valid input, where an input is the content of one file."""


def make_run(directory: Path) -> None:
    """Writes a small run as a training leaves it, but for the training."""
    sampling.write_drones(layout.drones(directory), config.SamplingConfig(), TEACHERS)
    drones = files.load_directory(layout.drones(directory))
    write_text(layout.config_file(directory), config.dump(SETTINGS))
    stacked = jax.tree.map(jnp.asarray, stack([file.drone for file in drones]))
    population = populations.create(SETTINGS, stacked, jnp.arange(TEACHERS))
    kept = best.create(population.teachers).replace(mean_return=jnp.array([1.0, 2.0]))
    notes = checkpoints.Notes(0, list(range(TEACHERS)), 0, [None] * TEACHERS, 0, 0, {}, {})
    ids = np.arange(TEACHERS)
    latest = {**checkpoints.state_dict(population, with_replay=False), "teacher_id": ids}
    writer = checkpoints.Writer(directory)
    writer.save(STEP, checkpoints.tree_of_best(kept, ids), latest, notes)
    writer.close()
    results = Results.begin(SETTINGS.model_dump(), directory, range(TEACHERS), drones)
    results.run.status = "finished"
    judged = {name: np.array([1.5, 2.5]) for name in evaluation.Evaluation.__dataclass_fields__}
    results.set_final_evaluation(evaluation.Evaluation(**judged), 200.0, layout.best_arrays(STEP))
    write_json(directory / layout.RESULTS, results.content())
    curves = Curves(range(TEACHERS))
    for step in (0, STEP):
        curves.add("train", step, {"episode_reward": np.ones(TEACHERS)})
        curves.add("eval", step, {"reward": np.ones(TEACHERS)})
    curves.save(directory / layout.CURVES)


def all_readers(run: Path) -> list[Reader]:
    """Returns every reader, given the directory of a run that `make_run` wrote."""
    drone = (layout.drones(run) / "0000.json").read_bytes()
    start = run.parent / "start.npz"
    warm_start.save(start, sac.create(SETTINGS.sac, jax.random.key(0)).actor, {"seed": 1})
    policy = run.parent / student_file.NAME
    student_file.save(policy, student.create(16, jax.random.key(0)), {"seed": 1})
    return [
        _of_file("configuration", "settings.yaml", _yaml(mutations.yaml_file, SETTINGS.model_dump()), config.load, 0.2),
        _of_file("drone", "0.json", _json(drone), files.load_drone, 0.2),
        _of_file("repair", "0.json", _json(drone), _repair_drone, 0.05),
        _of_file("drone in YAML", "0.yaml", _yaml(mutations.yaml_drone, _DRONE_BY_HAND), _keep_drone, 0.1),
        _of_run("results", layout.RESULTS, _json((run / layout.RESULTS).read_bytes()), 0.1, run),
        _of_run("curves", layout.CURVES, _npz(run / layout.CURVES), 0.16, run),
        _of_file("start", "start.npz", _npz(start), _load_start, 0.1),
        _of_file("student", student_file.NAME, _npz(policy), _inspect, 0.05),
        _exported_policies(policy),
        _drone_directories(drone),
        _command_lines(),
        _checkpoint_files(run),
        _checkpoint_arrays(run),
    ]


class _Content(NamedTuple):
    """The content of a file: how it is drawn, and a valid one."""

    draw: Callable[[Random], bytes]
    example: bytes


def _yaml(mutated: Callable[[Random, Any], bytes], valid: dict[str, Any]) -> _Content:
    return _Content(lambda random: mutated(random, valid), yaml.safe_dump(valid).encode())


def _json(valid: bytes) -> _Content:
    content = json.loads(valid)
    return _Content(lambda random: mutations.json_file(random, content), valid)


def _npz(path: Path) -> _Content:
    with np.load(path) as loaded:
        arrays = dict(loaded)
    return _Content(lambda random: mutations.npz_file(random, arrays), path.read_bytes())


def _of_file(name: str, file: str, content: _Content, read: Callable[[Path], Any], share: float) -> Reader:
    """Returns a reader whose input is the content of one file."""

    def put(drawn: bytes, place: Path) -> None:
        (place / file).write_bytes(drawn)

    return Reader(name, content.draw, put, lambda _, place: read(place / file), share, content.example)


def _of_run(name: str, file: str, content: _Content, share: float, run: Path) -> Reader:
    """Returns a reader whose input is one file of a run; the rest of the run lies beside it, but for checkpoints."""

    def put(drawn: bytes, place: Path) -> None:
        shutil.copytree(layout.drones(run), layout.drones(place))
        for other in (layout.RESULTS, layout.CURVES):
            shutil.copy(run / other, place / other)
        (place / file).write_bytes(drawn)

    def read(drawn: bytes, place: Path) -> None:
        ways = (lambda: analysis.load(place), *(functools.partial(_open_run, how, place) for how in _INSPECTIONS))
        # By its content, so that an input can be tried again.
        ways[zlib.crc32(drawn) % len(ways)]()

    return Reader(name, content.draw, put, read, share, content.example)


_DRONE_BY_HAND: dict[str, Any] = {
    "dynamics": {
        "mass": 0.8,
        "rotor_positions": [[0.08, -0.09, 0.0], [-0.07, -0.09, 0.0], [-0.07, 0.09, 0.0], [0.08, 0.09, 0.0]],
        "rotor_thrust_coefficients": [0.0, 1.5, 8.0],
        "rotor_torque_constants": 0.01,
        "rotor_time_constants_rising": 0.04,
        "J": [0.003, 0.0025, 0.005],
    },
    "metadata": {"measured": "yesterday", "by": ["a", "b"]},
}


def _repair_drone(path: Path) -> None:
    repaired = path.parent / "repaired" / path.name
    write_repaired(path, repaired)
    files.load_drone(repaired)


def _keep_drone(path: Path) -> None:
    """Reads a drone, looks at it, and writes it as a run keeps it."""
    file = files.load_drone(path)
    describe_drone(file)
    files.to_json(file.drone, file.metadata)


def _load_start(path: Path) -> None:
    warm_start.load(config.build({}, {"sac.actor_hidden_dim": 8, "training.start": str(path)}, "test"))
    warm_start.provenance(str(path))


def _inspect(path: Path) -> None:
    command(["inspect", "--json", str(path)])


def _exported_policies(policy: Path) -> Reader:
    """Damaged files of the formats that a student is exported in."""
    output, valid = policy.parent / "exported", {}
    for format in ("onnx", "rltools-h5", "c", "px4"):
        command(["export", str(policy), "--format", format, "--output", str(output / format)])
        valid |= {path.name: path.read_bytes() for path in (output / format).iterdir()}

    def draw(random: Random) -> tuple[str, bytes]:
        name = random.choice(sorted(valid))
        return name, mutations.damaged(random, valid[name])

    def put(drawn: tuple[str, bytes], place: Path) -> None:
        (place / drawn[0]).write_bytes(drawn[1])

    return Reader("exported policy", draw, put, lambda drawn, place: _inspect(place / drawn[0]), 0.05)


NAMES = ("0", "0001", "[red]", "a\nb", "\x1b[2J", "-", "..", "\u0663", "\udcff", "x" * 250, "~", "$(touch x)", " ")
LINKS = {"link": "../target", "dangling": "nowhere", "loop": "loop.json", "zero": "/dev/zero", "host": "/etc/hostname"}


def _lay(path: Path, kind: str, content: bytes) -> None:
    """Makes a file, or what only looks like one: a directory, a pipe, or one of `LINKS`."""
    if kind == "file":
        path.write_bytes(content)
    elif kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(LINKS[kind])


def _drone_directories(valid: bytes) -> Reader:
    """Directories of drones with odd names, and with what only looks like a file."""
    content = json.loads(valid)

    def draw(random: Random) -> dict[str, tuple[str, bytes]]:
        entries = {}
        for name in random.sample(NAMES, random.randrange(1, 4)):
            text = mutations.json_file(random, content) if random.random() < 0.2 else valid
            entries[name] = (random.choice(("file", "file", "directory", "pipe", "link", *LINKS)), text)
        return entries

    def put(entries: dict[str, tuple[str, bytes]], place: Path) -> None:
        (place / "drones").mkdir()
        (place / "target").write_bytes(valid)
        for name, (kind, text) in entries.items():
            _lay(place / "drones" / f"{name}.json", kind, text)

    def read(_: Any, place: Path) -> None:
        """Reads and copies the drones as a training does."""
        drones = files.load_directory(place / "drones")
        files.stack_for_training(drones, SETTINGS.environment)
        for drone in drones:
            files.save_drone(place / "copies" / f"{drone.name}.json", drone.drone, drone.metadata)
        results = Results.begin(SETTINGS.model_dump(), place, range(len(drones)), drones)
        write_json(place / "copies" / layout.RESULTS, results.content())
        command(["inspect", str(drones[0].path)])

    return Reader("directory of drones", draw, put, read, 0.05)


COMMANDS = ("sample", "train", "train-start", "evaluate", "report", "inspect", "export", "rollout")
ON_A_RUN = COMMANDS[3:]
OPTIONS = (
    *(f"--{key.replace('_', '-')}" for key in config.all_keys()),
    *("--config", "--dynamics-dir", "--drone", "--output-dir", "--num-teachers", "--num-drones", "--generate-dynamics"),
    *("--overwrite", "--output", "--episodes", "--policy", "--seed", "--json", "--teacher", "--format", "--help"),
    *("-h", "--", "--c", "-x", "@f"),
)


def _command_line(random: Random) -> list[str]:
    """Returns the arguments of a command: options that exist, misspelt ones, and values of all sorts."""
    arguments = [random.choice(COMMANDS) if random.randrange(10) else _word(random)]
    for _ in range(random.randrange(5)):
        option, value = random.choice(OPTIONS), _word(random)
        if random.randrange(10) == 0:
            option = option[: random.randrange(len(option) + 1)] + _word(random)
        arguments += random.choice(([option, value], [f"{option}={value}"], [option], [value]))
    return arguments


def _word(random: Random) -> str:
    """Returns an argument as a shell can pass it: without NUL, and bytes where the text has no encoding."""
    return os.fsdecode(str(mutations.scalar(random)).replace("\0", "").encode("utf-8", "surrogatepass"))


def _command_lines() -> Reader:
    """Commands in a directory whose drones are a file, which stops them at the latest."""

    def put(_: Any, place: Path) -> None:
        (place / "drones").touch()

    def read(arguments: list[str], place: Path) -> None:
        with contextlib.chdir(place):
            command(arguments if arguments[0] in ON_A_RUN else [*arguments, "--dynamics-dir", "drones"])

    return Reader("command line", _command_line, put, read, 0.05)


_INSPECTIONS = (("inspect",), ("inspect", "--json"), ("inspect", "--teacher", "0"))
_USES = (*_INSPECTIONS, ("evaluate", "--device", "cpu"), ("export", "--format", "npz"), ("resume",))


def _open_run(how: tuple[str, ...], run: Path) -> None:
    """Runs a command on a run, or reads what a resume reads."""
    if how != ("resume",):
        command([*how, str(run)])
        return
    for step in checkpoints.resumable_steps(run):
        checkpoints.load_notes(run, step, checkpoints.Notes)
        checkpoints.load_best(run, step)
        checkpoints.load_latest(run, step)


def _checkpoint_files(run: Path) -> Reader:
    """Whole checkpoints of which one file is damaged, taken away, or something else."""
    kept = run / layout.CHECKPOINTS
    names = sorted(str(path.relative_to(kept)) for kind in ("best", "latest") for path in (kept / kind).rglob("*"))
    texts = {name: json.loads((kept / name).read_text()) for name in names if name.endswith("_METADATA")}
    kinds = ("file", "file", "file", "edit", "edit", "remove", "host", "pipe", "stranger")

    def draw(random: Random) -> tuple[tuple[str, ...], str, str, bytes]:
        kind = random.choice(kinds)
        name = random.choice(sorted(texts) if kind == "edit" else names)
        content = b""
        if kind == "edit":
            content = mutations.json_file(random, texts[name])
        elif (kept / name).is_file():
            content = mutations.damaged(random, (kept / name).read_bytes())
        return random.choice(_USES), kind, name, content

    def put(damage: tuple[tuple[str, ...], str, str, bytes], place: Path) -> None:
        _, kind, name, content = damage
        shutil.copytree(run, place / "run")
        path = place / "run" / layout.CHECKPOINTS / name
        if kind == "stranger":
            (path.parent / "99999999999999999999").mkdir()
            return
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        if kind != "remove":
            _lay(path, "file" if kind == "edit" else kind, content)

    return Reader("checkpoint files", draw, put, lambda damage, place: _open_run(damage[0], place / "run"), 0.02)


def _checkpoint_arrays(run: Path) -> Reader:
    """Whole checkpoints of arrays that are no run's, or nearly one's."""
    flat = traverse_util.flatten_dict(checkpoints.load_best(run)[1], sep="/")

    def draw(random: Random) -> tuple[tuple[str, ...], dict[str, Any]]:
        leaves = dict(flat)
        for name in random.sample(list(flat), random.randrange(4)):
            how = random.choice(("remove", "shape", "type", "numbers", "group"))
            leaf = leaves.pop(name)
            if how == "shape":
                leaves[name] = np.ones([random.randrange(1, 6) for _ in range(random.randrange(4))], leaf.dtype)
            elif how == "type":
                leaves[name] = np.ones(leaf.shape, random.choice(("f4", "f2", "i4", "i1", "u4", "?")))
            elif how == "numbers":
                strange = (np.nan, np.inf, -np.inf, 3e38) if leaf.dtype.kind == "f" else (-1, 2**31 - 1, -(2**31))
                leaves[name] = np.full(leaf.shape, random.choice(strange), leaf.dtype)
            elif how == "group":
                leaves[f"{name}/more"] = leaf
        return random.choice(_USES), leaves

    def put(drawn: tuple[tuple[str, ...], dict[str, Any]], place: Path) -> None:
        shutil.copytree(run, place / "run")
        path = place / "run" / layout.best_arrays(STEP)
        shutil.rmtree(path)
        with ocp.StandardCheckpointer() as checkpointer:
            checkpointer.save(path.absolute(), traverse_util.unflatten_dict(drawn[1], sep="/"))

    return Reader("checkpoint arrays", draw, put, lambda drawn, place: _open_run(drawn[0], place / "run"), 0.02)
