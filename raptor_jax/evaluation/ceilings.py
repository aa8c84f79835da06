"""The ceilings of many teachers in many episodes, in blocks, so that the memory does not grow with their number."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.evaluation import ceiling, flights
from raptor_jax.evaluation.ceiling import Found, Search, Start
from raptor_jax.simulator.compiler import compiling_for
from raptor_jax.utils.trees import leading_size, take

KEPT = Start(0.0, 1.0)
"""The kept actor's own flight."""

CAREFUL = Start(0.0, 1.0, rate=0.1)
"""The same with small steps, for episodes in which the search found nothing better."""

REACTIONS = (Start(-1.0, 0.15), Start(-0.75, 0.3), Start(-0.5, 1.0), Start(0.5, 0.15))
"""The starts from which the search of an episode is repeated if its best flight terminates."""

_TOGETHER = 8
"""Largest number of searches with one teacher's weights in a job, so that a layer is a product of two matrices."""

_JOBS = {"cpu": 8}
"""Largest number of jobs in a block: on a CPU its 0.3 MB a search should fit the cache."""
_JOBS_OF_ACCELERATORS = 512

_Item = TypeVar("_Item")


class Ceilings(NamedTuple):
    """Results of T teachers in E episodes, each [T, E]."""

    kept_return: np.ndarray
    best_return: np.ndarray
    """Returns of the best flights found: at least the kept return."""
    kept_terminated: np.ndarray
    terminated: np.ndarray
    """Whether the best flight ends by termination."""


class Effort(NamedTuple):
    """Iterations of a search. Measured on eight drones (docs/evaluation.md)."""

    full: int = 200
    trial: int = 60
    """Iterations from each of `REACTIONS`; if they find a better flight, a full search from that start follows."""


class _Attempt(NamedTuple):
    """One search."""

    teacher: int
    """Its row."""
    episode: int
    start: Start


class _Task(NamedTuple):
    """What all searches share."""

    config: Config
    actors: sac.Parameters
    drones: Drone
    keys: jax.Array
    """[E] of the episodes."""
    console: Console


def find_all(
    config: Config, actors: sac.Parameters, drones: Drone, episodes: int, console: Console, effort: Effort | None = None
) -> Ceilings:
    """Searches for the best flight of each teacher in each of the first episodes of the final evaluation.

    Args:
        config: settings; the seeds follow from `training.seed`.
        actors: weights, each [T, ...].
        drones: every array [T, ...].
        episodes: E.
        console: where the progress is shown.
        effort: iterations; None for the default ones.
    """
    keys = flights.episode_keys(config, episodes, flights.FINAL)
    task = _Task(config, actors, drones, keys, console)
    effort = effort or Effort()
    size = (leading_size(drones), episodes)
    found = Ceilings(np.zeros(size), np.full(size, -np.inf), np.zeros(size, bool), np.zeros(size, bool))
    everything = [_Attempt(row, number, KEPT) for row, number in np.ndindex(size)]
    together = min(_TOGETHER, episodes)
    jobs = min(_JOBS.get(jax.default_backend(), _JOBS_OF_ACCELERATORS), len(list(_jobs(everything, together))))
    with compiling_for(jax.default_backend()):
        _make(task, effort.full, _blocks(everything, together, jobs), found)
        stuck = np.argwhere((found.best_return <= found.kept_return) & ~found.terminated).tolist()
        careful = [_Attempt(row, number, CAREFUL) for row, number in stuck]
        _make(task, effort.full, _blocks(careful, together, jobs), found)
        crashed = np.argwhere(found.terminated).tolist()
        trials = [_Attempt(row, number, start) for row, number in crashed for start in REACTIONS]
        improved = _make(task, effort.trial, _blocks(trials, together, jobs), found)
        _make(task, effort.full, _blocks(improved, together, jobs), found)
    return found


def _jobs(attempts: Sequence[_Attempt], together: int) -> Iterator[list[_Attempt]]:
    """Returns jobs of `together` attempts of one teacher; the last job of a teacher is filled with its last attempt."""
    for _, group in groupby(attempts, lambda attempt: attempt.teacher):
        yield from _filled(group, together)


def _blocks(attempts: Sequence[_Attempt], together: int, jobs: int) -> list[list[list[_Attempt]]]:
    """Returns blocks of `jobs` jobs, as the program needs; the last block is filled with the last job."""
    return list(_filled(_jobs(attempts, together), jobs))


def _filled(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Returns the items in lists of one size, of which the last is filled with the last item."""
    remaining = list(items)
    for first in range(0, len(remaining), size):
        part = remaining[first : first + size]
        yield part + part[-1:] * (size - len(part))


def _make(task: _Task, iterations: int, blocks: list[list[list[_Attempt]]], found: Ceilings) -> list[_Attempt]:
    """Makes attempts, puts better flights into `found`, and returns the best attempt of each of these episodes."""
    improved: dict[tuple[int, int], _Attempt] = {}
    for block in track(blocks, f"{iterations} iterations", console=task.console, transient=True):
        rows = np.array([job[0].teacher for job in block])
        numbers = np.array([[attempt.episode for attempt in job] for job in block])
        starts = np.array([[attempt.start for attempt in job] for job in block], np.float32)
        actors, drones = take((task.actors, task.drones), rows)
        start = Start(*jnp.moveaxis(jnp.asarray(starts), -1, 0))
        asked = actors, drones, task.keys[numbers], start
        result = jax.device_get(_search_block(task.config, jnp.int32(iterations), *asked))
        for place in np.ndindex(numbers.shape):
            attempt = block[place[0]][place[1]]
            if _keep_better(found, attempt, jax.tree.map(lambda leaf, place=place: leaf[place], result)):
                improved[attempt.teacher, attempt.episode] = attempt
    return list(improved.values())


def _keep_better(found: Ceilings, attempt: _Attempt, result: Found) -> bool:
    """Puts the result of an attempt into `found` if it is better, and returns whether it is."""
    at = attempt.teacher, attempt.episode
    found.kept_return[at], found.kept_terminated[at] = result.kept_return, result.kept_terminated
    # NaN, the return of an actor with such weights, is taken over too.
    if result.best_return <= found.best_return[at]:
        return False
    found.best_return[at], found.terminated[at] = result.best_return, result.terminated
    return True


@functools.partial(jax.jit, static_argnames="config")
def _search_block(
    config: Config,
    iterations: jax.Array,
    actors: sac.Parameters,
    drones: Drone,
    keys: jax.Array,
    starts: Start,
) -> Found:
    """Searches K episodes of each of B drones: actors and drones [B, ...]; keys, starts and results [B, K]."""
    find = functools.partial(ceiling.find, config, Search(), iterations)
    axes = (flights.PER_TEACHER, flights.PER_TEACHER, flights.PER_FLIGHT, flights.PER_FLIGHT)
    found = flights.over_flights(find, *axes)(actors, drones, keys, starts)
    return found.replace(offsets=None)
