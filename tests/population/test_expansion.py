"""A population that learns through the simulator: its episodes, its updates and its schedule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax.config import build
from raptor_jax.population import expansion
from raptor_jax.population import sac as population
from raptor_jax.sac.window import Step, Window

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

UPDATES = 4


def windows(config, environments=2):
    """Returns settings of a training with windows of 7 steps."""
    settings = {
        "sac.horizon": 7,
        "environment.environments_per_teacher": environments,
        "training.steps_per_teacher": environments * 7 * UPDATES,
    }
    return build(config.model_dump(), settings, "test")


def test_episodes_begin_with_different_lengths(tiny_config, drones):
    ages = population.create(windows(tiny_config, environments=64), drones, jnp.arange(3)).episodes.length
    assert set(np.ravel(ages)) == set(range(tiny_config.environment.episode_steps))


def test_every_window_is_an_update_and_there_is_no_warmup(tiny_config):
    config = windows(tiny_config)
    plan = population.schedule(config)
    assert (plan.total_steps, plan.warmup_steps) == (config.training.steps_per_teacher, 0)
    assert plan.chunks * plan.chunk_updates == expansion.total_updates(config) == UPDATES


def test_an_episode_counts_up_to_its_length_or_its_termination(tiny_config):
    length = tiny_config.environment.episode_steps
    # Windows of four steps: one that crosses the length, one that terminates, one that goes on.
    lengths = jnp.array([[length - 1, length, length + 1, length + 2], [1, 2, 3, 4], [1, 2, 3, 4]])
    ended = jnp.zeros((3, 4), bool).at[1, 2].set(True)
    rewards = jnp.arange(12.0).reshape(3, 4)
    absent = jnp.zeros((3, 4))
    steps = Step(absent, absent, absent, absent, ended, lengths, rewards)
    windows = Window(jax.tree.map(lambda leaf: leaf[None], steps), absent, absent, absent)
    found = expansion.finished(tiny_config, windows)
    assert (found.episodes, found.reward, found.length) == (2, 1 + 6, length + 3)
