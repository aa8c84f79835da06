"""The functions behind `import raptor_jax`: what the commands do, on arrays and dataclasses.

Errors that a caller can fix are `UserError`. Their messages name settings as the command line does: `--overwrite` is
the argument `overwrite`, and `--sac.gamma` the key "sac.gamma" of `load_config`.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from raptor_jax import config as configs
from raptor_jax import evaluation
from raptor_jax.config import Config
from raptor_jax.distillation import distill as run_distillation
from raptor_jax.distillation import job_of
from raptor_jax.drones import files, sampling, tasks
from raptor_jax.drones.files import DroneFile
from raptor_jax.drones.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.evaluation import Evaluation, Policy
from raptor_jax.export.student.policy import Student, read_student
from raptor_jax.export.teacher import Teacher, read_teachers
from raptor_jax.runs import analysis as analysis
from raptor_jax.runs.analysis import Population, load
from raptor_jax.runs.kept import Flights, load_flights
from raptor_jax.simulator import episode
from raptor_jax.simulator.episode import Episode, Outcome
from raptor_jax.training import loop
from raptor_jax.utils.console import make_console


class Environment(NamedTuple):
    """Drones on the device, and the simulator as two pure functions of one drone, which can be `vmap`-ed."""

    drones: Drone
    """One drone, or T of them with every array [T, ...]."""
    reset: Callable[[Drone, jax.Array], Episode]
    """(drone, key) -> a new episode."""
    step: Callable[[Drone, Episode, jax.Array, jax.Array], tuple[Episode, Outcome]]
    """(drone, episode, action [4] in [-1, 1], key) -> the next episode state, reset if the step finished the episode,
    and the outcome of the step: its reward, whether it terminated or finished the episode, and the episode before the
    reset."""


def load_config(path: str | Path = configs.DEFAULT_CONFIG, overrides: Mapping[str, Any] | None = None) -> Config:
    """Returns the settings of a YAML file, with overrides by dotted key.

    Args:
        path: the file, or the name of a configuration that ships with raptor_jax.
        overrides: values by key.

    Raises:
        UserError: no file, no YAML, an unknown key, a wrong type or a value out of range.

    >>> load_config("configs/raptor.yaml", {"training.seed": 7}).training.pass_return
    300.0
    """
    return configs.load(path, overrides)


def sample_drones(
    num: int | None = None, config: Config | None = None, directory: str | Path | None = None
) -> list[DroneFile]:
    """Draws drones; drone i depends on `sampling.seed` and on i alone.

    Args:
        num: number of drones; None for `sampling.num_drones`.
        config: settings, of which only the section `sampling` is used; None for the defaults.
        directory: directory into which they are also written, as 0000.json and so on; None to write no files.

    Raises:
        UserError: the settings allow impossible drones, or the directory contains other drones or cannot be written.

    >>> drones = sample_drones(3)
    >>> [drone.name for drone in drones]
    ['0000', '0001', '0002']
    >>> round(float(drones[0].drone.dynamics.mass), 3)  # kg
    0.287
    """
    config = config or Config()
    num = config.sampling.num_drones if num is None else num
    if num < 1:
        raise UserError(f"num: {num} should be at least 1")
    if directory is not None:
        sampling.write_drones(directory, config.sampling, num)
        return files.load_directory(directory, num)
    names = (f"{index:04d}" for index in range(num))
    return [
        DroneFile(name, Path(f"{name}.json"), *sampling.sample_drone(config.sampling, index))
        for index, name in enumerate(names)
    ]


def load_drones(path: str | Path) -> list[DroneFile]:
    """Reads the drones of a directory, ordered by number, or a single one from its file or by the name of a platform.

    Raises:
        UserError: there are none, or one is not a valid drone; see `raptor_jax.drones.files.load_drone`.

    >>> load_drones("crazyflie")[0].drone.dynamics.mass  # kg
    array(0.0306)
    """
    return files.load_directory(path) if os.path.isdir(path) else files.load_named([path])


def make_environment(drones: DroneFile | Sequence[DroneFile], config: Config | None = None) -> Environment:
    """Returns the simulator of one drone or of several, for programs in JAX; others can use `gymnasium_env`.

    Args:
        drones: one drone, or a sequence of T, whose arrays then have a leading axis.
        config: settings, of which only the section `environment` is used; None for the defaults.

    Raises:
        UserError: there are no drones, or one does not fit the settings.

    Four episodes of each of two drones, one step:

    >>> drones, reset, step = make_environment(sample_drones(2))
    >>> keys = jax.random.split(jax.random.key(0), (2, 4))
    >>> episodes = jax.vmap(jax.vmap(reset, in_axes=(None, 0)))(drones, keys)
    >>> episodes.observation.shape
    (2, 4, 26)
    >>> actions = jax.numpy.zeros((2, 4, 4))
    >>> episodes, outcomes = jax.vmap(jax.vmap(step, in_axes=(None, 0, 0, 0)))(drones, episodes, actions, keys)
    >>> outcomes.reward.shape, int(episodes.length.max())
    ((2, 4), 1)
    """
    environment = (config or Config()).environment

    def step(drone: Drone, now: Episode, action: jax.Array, key: jax.Array) -> tuple[Episode, Outcome]:
        return episode.advance_or_restart(drone, now, action, environment.episode_steps, key)

    if isinstance(drones, DroneFile):
        flown = tasks.for_training(drones.drone, environment, str(drones.path))
    else:
        _require_some(drones)
        flown = files.stack_for_training(drones, environment)
    return Environment(jax.tree.map(jnp.asarray, flown), episode.start, step)


def train(
    drones: Sequence[DroneFile],
    output_dir: str | Path,
    config: Config | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    quiet: bool = False,
) -> Population:
    """Trains a teacher for each drone on all devices of JAX, as `raptor-jax train` does.

    A CPU is one device, and trains on one core, unless the environment variable JAX_NUM_CPU_DEVICES is set to the
    number of cores before jax is imported. The command uses all cores.

    Ctrl-C and SIGTERM stop it after the current chunk. The returned `runs[0]["status"]` is then "interrupted", and the
    same call with `resume=True` resumes the run.

    Args:
        drones: teacher i flies drone i; they must be ordered by name, as `load_drones` returns them.
        output_dir: output directory of the run; docs/run.md lists its files.
        config: settings; None for the defaults.
        overwrite: rename a run that is already in `output_dir`, and start a new one.
        resume: resume the run in `output_dir`; settings and drones must be those of the run.
        quiet: print nothing.

    Returns:
        The run as `load` reads it; `teachers["passed"]` tells which teachers passed.

    Raises:
        UserError: the input is invalid, or there is too little memory or disk space.

    >>> tiny = load_config("tiny.yaml")  # minutes become seconds
    >>> population = train(sample_drones(2), "experiments/two", tiny, quiet=True)
    >>> population.runs[0]["status"], population.evaluation["reward"].shape
    ('finished', (2, 3))
    """
    _require_some(drones)
    _require_order(drones)
    for drone in drones:
        files.check(drone.path, drone.drone)
    job = loop.Job(config or Config(), drones, np.arange(len(drones)), Path(output_dir))
    loop.train(job, make_console(quiet), overwrite=overwrite, resume=resume)
    return load(output_dir)


def evaluate(
    run: str | Path, policy: Policy | None = None, episodes: int | None = None, seed: int | None = None
) -> Evaluation:
    """Evaluates the teachers of a run, or another policy, on its drones; the episodes do not depend on the policy.

    Args:
        run: output directory of a run.
        policy: one controller for all drones, an object with `reset()` and `evaluate_step(observations [B, 26])`, which
            returns actions [B, 4]; None for the kept actors, each on its own drone.
        episodes: number of episodes per drone; None for that of the final evaluation of the run.
        seed: seed of the episodes; None for that of the run. With both None, the episodes are those of its final
            evaluation.

    Returns:
        NumPy arrays [T], in the order of the drones of the run: `mean_return`, `std_return`, `episode_length` in steps,
        `share_terminated`, `final_position_error` and `position_offset` in m, and `yaw_offset` in rad.

    Raises:
        UserError: the directory contains no run, its files are inconsistent, or there is too little memory.

    >>> found = evaluate("experiments/pre_training", episodes=2)
    >>> found.mean_return.shape, found.share_terminated.shape
    ((4,), (4,))
    """
    if episodes is not None and episodes < 1:
        raise UserError(f"episodes: {episodes} should be at least 1")
    kept, episodes = load_flights(Flights(Path(run), episodes=episodes, seed=seed))
    flown = (kept.drones, episodes, evaluation.FINAL)
    if policy is None:
        return jax.device_get(evaluation.evaluate(kept.settings, kept.actors, *flown))
    return jax.device_get(evaluation.evaluate_policy(kept.settings, policy, *flown))


def load_teacher(run: str | Path, teacher_id: int) -> Teacher:
    """Returns the kept actor of a teacher, with its drone, its settings and its provenance.

    Raises:
        UserError: the directory contains no run, or the run has no such teacher.

    >>> teacher = load_teacher("experiments/pre_training", 0)
    >>> teacher.drone_file.name, teacher.action(np.zeros((10, 26))).shape
    ('0000', (10, 4))
    """
    return read_teachers(Path(run), teacher_id)[0]


def distill(
    run: str | Path,
    output_dir: str | Path,
    config: Config | None = None,
    teachers: Sequence[int] | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    quiet: bool = False,
) -> Student:
    """Distils the teachers of a run that passed into one recurrent policy, as `raptor-jax distill` does.

    Ctrl-C and SIGTERM stop it after the current chunk; `status` in student.json is then "interrupted", and the same
    call with `resume=True` resumes the distillation.

    Args:
        run: output directory of the teachers' run.
        output_dir: output directory of the student; docs/distillation.md lists its files.
        config: settings, of which only the section `distillation` is used; None for `configs/distill.yaml`.
        teachers: identities of the teachers to learn from; None for all that passed.
        overwrite: rename a student that is already in `output_dir`, and start a new one.
        resume: resume the distillation in `output_dir`.
        quiet: print nothing.

    Returns:
        The best student found by the evaluations.

    Raises:
        UserError: the input is invalid, or there is too little memory or disk space.

    >>> tiny = load_config("tiny.yaml")  # minutes become seconds
    >>> student = distill("experiments/pre_training", "experiments/student", tiny, quiet=True)
    >>> evaluate("experiments/pre_training", student.policy(), episodes=2).mean_return.shape
    (4,)
    """
    settings = (config or load_config("configs/distill.yaml")).distillation
    if teachers is not None and not len(teachers):
        raise UserError("teachers: there are none; name at least one, or pass None for all that passed")
    asked = None if teachers is None else [range(number, number + 1) for number in teachers]
    job = job_of(Path(run), settings, Path(output_dir), asked)
    run_distillation(job, make_console(quiet), overwrite=overwrite, resume=resume)
    return load_student(output_dir)


def load_student(path: str | Path) -> Student:
    """Returns the student in a file, or in the directory that `distill` wrote.

    Raises:
        UserError: the file is missing, is damaged, or is not a student.

    >>> student = load_student("examples/student.npz")
    >>> memory, action = student.act(student.fresh_memory, np.zeros(22))
    >>> memory.shape, action.shape
    ((16,), (4,))
    """
    return read_student(Path(path))


def _require_some(drones: Sequence[DroneFile]) -> None:
    if not drones:
        raise UserError("drones: there are none; sample or load at least one")


def _require_order(drones: Sequence[DroneFile]) -> None:
    """Raises UserError unless the drones have the order in which they are read back from the run's directory."""
    paths = [Path(f"{drone.name}.json") for drone in drones]
    ordered = sorted(set(paths), key=files.by_number)
    if paths != ordered:
        wrong = next(path for path, expected in zip(paths, [*ordered, None], strict=False) if path != expected)
        raise UserError(f"drones: {wrong.stem} is out of order or occurs twice; sort them by number, each name once")
