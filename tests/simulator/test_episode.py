"""How episodes end, in the simulator and in the replay."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import simulator
from raptor_jax.config import build
from raptor_jax.drones.parameters import Drone, stack
from raptor_jax.population import sac as population
from raptor_jax.population.state import ChunkMetrics
from raptor_jax.sac import replay as replays
from raptor_jax.simulator import episode
from validation.drones import on_device, replaced, sampled_drones

ENVIRONMENTS = 64
EPISODE_STEPS = 5
"""As in `tiny_config`."""
STEPS = 4 * EPISODE_STEPS
POSITION, VELOCITY = slice(0, 3), slice(12, 15)
"""Columns of an observation."""

_restart = jax.vmap(episode.advance_or_restart, in_axes=(None, 0, 0, None, 0))
advance = jax.jit(_restart, static_argnums=3)
start = jax.jit(jax.vmap(episode.start, in_axes=(None, 0)))
observe = jax.jit(jax.vmap(functools.partial(simulator.observe, noise=None), in_axes=(None, 0)))


DRONE = sampled_drones(1)[0]
ENDLESS = replaced(DRONE, mdp__termination__enabled=False)
CRASHING = replaced(DRONE, mdp__init__guidance=0.0, mdp__termination__position_threshold=1e-6)
"""Every start is outside of its limits."""
CONFINED = replaced(DRONE, mdp__termination__position_threshold=0.8 * DRONE.mdp.init.max_position)
"""About a half of the starts are outside of its limits."""


def fly(drone: Drone, steps: int) -> tuple[episode.Episode, episode.Outcome]:
    """Flies many episodes with random actions. Returns the running episodes and the last step's outcome."""
    drone = on_device(drone)
    now = start(drone, jax.random.split(jax.random.key(0), ENVIRONMENTS))
    for key in jax.random.split(jax.random.key(1), steps):
        action_key, step_key = jax.random.split(key)
        action = jax.random.uniform(action_key, (ENVIRONMENTS, 4), minval=-1, maxval=1)
        now, outcome = advance(drone, now, action, EPISODE_STEPS, jax.random.split(step_key, ENVIRONMENTS))
    return now, outcome


@pytest.mark.parametrize(("drone", "steps"), [(ENDLESS, EPISODE_STEPS), (CRASHING, 1)], ids=["truncated", "crashed"])
def test_the_outcome_is_before_the_fresh_start_and_the_next_episode_after_it(drone, steps):
    following, outcome = fly(drone, steps)
    last = outcome.episode
    # The task has no observation noise, so an observation is its state's.
    np.testing.assert_allclose(last.observation, observe(on_device(drone), last.state), atol=1e-6)
    np.testing.assert_allclose(following.observation, observe(on_device(drone), following.state), atol=1e-6)
    assert np.all(np.any(last.state.rotor_state != following.state.rotor_state, axis=1))
    for fresh in (following.length, following.total_reward, following.state.last_action):
        assert not np.any(fresh)


def test_fresh_starts_differ_between_environments_and_episodes():
    following, _ = fly(ENDLESS, EPISODE_STEPS)
    again, _ = fly(ENDLESS, 2 * EPISODE_STEPS)
    rotors = np.concatenate([following.state.rotor_state, again.state.rotor_state])
    assert len(np.unique(rotors, axis=0)) == 2 * ENVIRONMENTS


class Stored(NamedTuple):
    """What every step of a teacher stored, [steps, E, ...]."""

    observation: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    ending: np.ndarray


class Collected(NamedTuple):
    """What a population that does not learn stored: an endless drone, a crashing and a confined one."""

    stored: list[Stored]
    metrics: ChunkMetrics


@pytest.fixture(scope="module")
def collected(tiny_config) -> Collected:
    config = build(tiny_config.model_dump(), {"sac.replay_precision": "float32"}, "test")
    drones = on_device(stack([ENDLESS, CRASHING, CONFINED]))
    fresh = population.create(config, drones, jnp.arange(3))
    after, metrics = population.collect(config, fresh, drones, iterations=STEPS)
    environments = config.environment.environments_per_teacher
    rows = np.asarray(after.replay.rows[:, : STEPS * environments]).reshape(3, STEPS, environments, -1)
    return Collected([Stored(*replays.columns(own)) for own in rows], metrics)


def test_truncated_episodes_are_stored_as_truncated_and_the_next_row_is_a_new_episode(collected):
    stored = collected.stored[0]
    cut = (np.arange(STEPS) + 1) % EPISODE_STEPS == 0
    expected = np.where(cut[:, None], replays.TRUNCATED, replays.CONTINUES)
    np.testing.assert_array_equal(stored.ending, np.broadcast_to(expected, stored.ending.shape))
    # Where a reset went is far from where the drone would have got to: at most 1/2 a dt^2 beyond its velocity.
    dt, greatest_acceleration = DRONE.integration.dt, 100.0
    moved = np.diff(stored.observation[..., POSITION], axis=0)
    beyond = np.abs(moved - dt * stored.observation[:-1][..., VELOCITY]).max(axis=(1, 2))
    np.testing.assert_array_equal(beyond < 0.5 * greatest_acceleration * dt**2, ~cut[:-1])


def test_crashes_are_stored_as_terminated(collected):
    stored = collected.stored[1]
    assert np.all(stored.ending == replays.TERMINATED)
    assert np.all(stored.reward == DRONE.mdp.reward.termination_penalty)


def test_the_stored_action_is_the_previous_action_of_the_next_row_within_an_episode(collected):
    for stored in (collected.stored[0], collected.stored[2]):
        on = stored.ending[:-1] == replays.CONTINUES
        assert on.any()
        np.testing.assert_array_equal(stored.observation[1:][on][:, 18:22], stored.action[:-1][on])


def test_reported_returns_and_lengths_are_means_over_the_finished_episodes(collected):
    for teacher, stored in enumerate(collected.stored):
        returns, lengths = [], []
        for rewards, terminated in zip(stored.reward.T, (stored.ending == replays.TERMINATED).T, strict=True):
            total, length = 0.0, 0
            for reward, ended in zip(rewards, terminated, strict=True):
                total, length = total + float(reward), length + 1
                if ended or length == EPISODE_STEPS:
                    returns.append(total)
                    lengths.append(length)
                    total, length = 0.0, 0
        np.testing.assert_allclose(collected.metrics.episode_reward[teacher], np.mean(returns), rtol=1e-5)
        np.testing.assert_allclose(collected.metrics.episode_length[teacher], np.mean(lengths), rtol=1e-6)
    assert 1 < collected.metrics.episode_length[2] < EPISODE_STEPS
