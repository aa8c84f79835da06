"""Estimates the device memory of a run before anything is allocated."""

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
from raptor_jax.utils.trees import take, tree_bytes

_MARGIN = 0.95
"""Share of the free memory that a suggested capacity fills, because the free memory varies."""


class MemoryTable(NamedTuple):
    """Bytes on the device, by purpose."""

    replay: int
    learner: int
    """Weights, moments, targets, environments, best actors and drones."""
    temporaries: int
    """What a program also needs: batches, gradients, and the state to which diverged teachers are rolled back."""
    evaluation: int

    @property
    def total(self) -> int:
        """Returns the sum of all purposes."""
        return sum(self)


def memory_options(config: Config) -> str:
    """Returns the names of the options on which most of the memory depends."""
    return "--environment.environments-per-teacher or --sac.horizon" if config.sac.horizon else "--sac.replay-capacity"


def plan(config: Config, drone: Drone, population: Population, best: Best, teachers: int, block: int) -> MemoryTable:
    """Returns the table of a device, estimated from shapes; the temporaries are a lower bound.

    Args:
        config: settings.
        drone: that of one teacher, every array [1, ...].
        population: shapes of one teacher in training, [1, ...].
        best: shapes of what is kept of one teacher, [1, ...].
        teachers: number of teachers on the device.
        block: how many of the teachers a program trains or evaluates at once.
    """
    replay = tree_bytes(population.replay)
    learner = tree_bytes(population.replace(keys=None)) - replay + tree_bytes(best) + tree_bytes(drone)
    episodes = max(config.training.eval_episodes, config.training.final_eval_episodes)
    in_block = (learner + replay if block < teachers else learner) * block
    evaluation = evaluation_bytes(config, drone, block, episodes)
    return MemoryTable(replay * teachers, learner * teachers, in_block, evaluation)


def evaluation_bytes(config: Config, drones: Drone, teachers: int, episodes: int) -> int:
    """Returns a lower bound of the memory to evaluate teachers on drones like the first of these, [T, ...]."""
    one_episode = jax.eval_shape(episode.start, take(drones, 0), jax.random.key(0))
    # The inputs and outputs of a step and the hidden layers of the actor are alive at the same time.
    per_episode = 3 * tree_bytes(one_episode) + 2 * 4 * config.sac.actor_hidden_dim
    return teachers * episodes * per_episode


def require_for_episodes(needed: int, episodes: int) -> None:
    """Raises UserError if this number of episodes needs more bytes than the first device has free."""
    available = available_bytes(jax.devices()[0])
    if needed > available:
        raise UserError(
            f"{episodes} episodes need {readable_bytes(needed)}, and {readable_bytes(available)} are free; lower"
            " --episodes"
        )


def available_bytes(device: jax.Device) -> int:
    """Returns the free memory of an accelerator, or of the host if the device is its CPU."""
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics["bytes_in_use"]
    return psutil.virtual_memory().available


def fitting_capacity(table: MemoryTable, config: Config, teachers: int, block: int, available: int) -> int:
    """Returns the largest replay, in transitions per teacher, that fits; 0 if it would be too small for training."""
    if config.sac.horizon:
        return 0
    environments = config.environment.environments_per_teacher
    # The replays of a block are copied, if it is not the only one.
    replays = teachers + block if block < teachers else teachers
    rest = _MARGIN * available - (table.total - table.replay * replays // teachers)
    capacity = int(max(0, rest) // (replays * row_bytes(config.sac))) // environments * environments
    return capacity if capacity >= config.sac.critic_batch_size else 0


def require_fit(table: MemoryTable, config: Config, teachers: int, block: int, available: int) -> None:
    """Raises UserError, naming the replay capacity that fits, if the table exceeds the available memory."""
    if table.total <= available:
        return
    capacity = fitting_capacity(table, config, teachers, block, available)
    fix = f"--sac.replay-capacity {capacity} fits" if capacity else "train fewer teachers (--num-teachers)"
    raise UserError(
        f"{teachers} teachers need {readable_bytes(table.total)}, and {readable_bytes(available)} are free; {fix}"
    )
