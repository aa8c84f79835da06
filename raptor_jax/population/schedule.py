"""Divides a run into calls of the jitted programs."""

from typing import NamedTuple

from raptor_jax.config import Config


class Schedule(NamedTuple):
    """Steps are environment steps of one teacher, updates those of one teacher."""

    warmup_iterations: int
    """Iterations without learning, before the first chunk."""
    warmup_steps: int
    chunk_iterations: int
    chunk_steps: int
    chunk_updates: int
    chunks: int

    @property
    def total_steps(self) -> int:
        """Returns the steps of the whole run: the configured number, rounded up to a whole chunk."""
        return self.warmup_steps + self.chunks * self.chunk_steps


def cut(
    config: Config, warmup_iterations: int, steps_per_iteration: int, learning_steps: int, updates_per_iteration: int
) -> Schedule:
    """Returns the schedule with the longest chunks that the shortest of the frequencies allows.

    Args:
        config: settings.
        warmup_iterations: iterations without learning, of one step in every environment.
        steps_per_iteration: environment steps of a learning iteration.
        learning_steps: configured number of environment steps with learning.
        updates_per_iteration: updates of a learning iteration.
    """
    training = config.training
    shortest = min(training.log_frequency, training.eval_frequency, training.checkpoint_frequency, learning_steps)
    iterations = max(1, shortest // steps_per_iteration)
    steps = iterations * steps_per_iteration
    return Schedule(
        warmup_iterations=warmup_iterations,
        warmup_steps=warmup_iterations * config.environment.environments_per_teacher,
        chunk_iterations=iterations,
        chunk_steps=steps,
        chunk_updates=iterations * updates_per_iteration,
        chunks=-(-learning_steps // steps),
    )


def is_due(before: int, after: int, frequency: int) -> bool:
    """Returns whether an action that is repeated every `frequency` steps is due: a multiple lies in (before, after]."""
    return after // frequency > before // frequency
