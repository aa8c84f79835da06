"""What a run will hold in device memory, told before anything is allocated."""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import psutil

from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.errors import UserError
from raptor_jax.population.best import Best
from raptor_jax.population.state import Population
from raptor_jax.sac.replay import row_bytes
from raptor_jax.simulator import episode
from raptor_jax.utils.console import readable_bytes
from raptor_jax.utils.trees import tree_bytes

_MARGIN = 0.95
"""Share of the free memory that a suggested capacity fills: what is free changes from one look to the next."""


class MemoryTable(NamedTuple):
    """Bytes on the device, by purpose."""

    replay: int
    learner: int
    """Weights, moments, targets, environments, best actors and drones."""
    temporaries: int
    """What a program needs beside these: batches, gradients, and the state that a non-finite chunk falls back to."""
    evaluation: int

    @property
    def total(self) -> int:
        """Returns the sum of all purposes."""
        return sum(self)


def largest(config: Config) -> str:
    """Returns the options that most of the memory depends on."""
    return "--environment.environments-per-teacher or --sac.horizon" if config.sac.horizon else "--sac.replay-capacity"


def plan(config: Config, drones: Drone, population: Population, best: Best) -> MemoryTable:
    """Returns the table from shapes alone; the temporaries are their least.

    Args:
        config: settings.
        drones: every array [T, ...].
        population: its shapes.
        best: shapes of what is kept.
    """
    replay = tree_bytes(population.replay)
    learner = tree_bytes(population.replace(keys=None)) - replay + tree_bytes(best) + tree_bytes(drones)
    episodes = max(config.training.eval_episodes, config.training.final_eval_episodes)
    return MemoryTable(replay, learner, learner, evaluation_bytes(config, drones, episodes))


def evaluation_bytes(config: Config, drones: Drone, episodes: int) -> int:
    """Returns the least that an evaluation of so many episodes of each of the drones [T, ...] needs."""
    one_episode = jax.eval_shape(episode.start, jax.tree.map(lambda leaf: leaf[0], drones), jax.random.key(0))
    # A step's inputs, outputs and the actor's hidden layers live at the same time.
    per_episode = 3 * tree_bytes(one_episode) + 2 * 4 * config.sac.actor_hidden_dim
    return drones.dynamics.mass.shape[0] * episodes * per_episode


def temporaries(programs: Iterable[jax.stages.Compiled]) -> int:
    """Returns the most that one of the compiled programs needs beside arguments and results; 0 where XLA does not say.

    What a training chunk returns takes the place of what it was given, so its results need nothing of their own.
    """
    analyses = (program.memory_analysis() for program in programs)
    return max((analysis.temp_size_in_bytes for analysis in analyses if analysis is not None), default=0)


def available_bytes(device: jax.Device) -> int:
    """Returns the free memory of an accelerator, or of this machine if the device is its processor."""
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics["bytes_in_use"]
    return psutil.virtual_memory().available


def fitting_capacity(table: MemoryTable, config: Config, teachers: int, available: int) -> int:
    """Returns the largest replay, in transitions of a teacher, that fits beside the rest; 0 where none would do."""
    if config.sac.horizon:
        return 0
    environments = config.environment.environments_per_teacher
    rest = _MARGIN * available - (table.total - table.replay)
    capacity = int(max(0, rest) // (teachers * row_bytes(config.sac))) // environments * environments
    return capacity if capacity >= config.sac.critic_batch_size else 0


def require_fit(table: MemoryTable, config: Config, teachers: int, available: int) -> None:
    """Raises UserError, with the replay capacity that fits, where the table exceeds what is available."""
    if table.total <= available:
        return
    capacity = fitting_capacity(table, config, teachers, available)
    way_out = f"--sac.replay-capacity {capacity} fits" if capacity else "train fewer teachers (--num-teachers)"
    raise UserError(
        f"{teachers} teachers need {readable_bytes(table.total)}, and {readable_bytes(available)} are free; {way_out}"
    )
