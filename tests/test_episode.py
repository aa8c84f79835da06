"""How episodes end, from the simulator through the replay to the critics' target."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import replay as replays
from raptor_jax import simulator
from raptor_jax.config import Config
from raptor_jax.dynamics.parameters import Drone, stack
from raptor_jax.population import sac as population
from raptor_jax.sac import Transition, losses
from raptor_jax.simulator import episode
from tests.simulator.drones import on_device, replaced, sampled_drones

ENVIRONMENTS = 64
EPISODE_STEPS = 5
POSITION, VELOCITY = slice(0, 3), slice(12, 15)
"""Columns of an observation."""

_restart = jax.vmap(episode.advance_or_restart, in_axes=(None, 0, 0, None, 0))
advance = jax.jit(_restart, static_argnums=3)
start = jax.jit(jax.vmap(episode.start, in_axes=(None, 0)))
observe = jax.jit(jax.vmap(simulator.observe, in_axes=(None, 0, None)))


def endless(drone: Drone) -> Drone:
    """Returns the drone without limits to leave."""
    return replaced(drone, mdp__termination__enabled=False)


def crashing(drone: Drone) -> Drone:
    """Returns the drone with limits that every start is outside of."""
    return replaced(drone, mdp__init__guidance=0.0, mdp__termination__position_threshold=1e-6)


def confined(drone: Drone) -> Drone:
    """Returns the drone with limits that about a half of the starts are outside of."""
    return replaced(drone, mdp__termination__position_threshold=0.8 * drone.mdp.init.max_position)


def fly(drone: Drone, steps: int) -> tuple[episode.Episode, list[episode.Outcome]]:
    """Flies many episodes with random actions. Returns the running episodes and every step's outcome."""
    drone = on_device(drone)
    now = start(drone, jax.random.split(jax.random.key(0), ENVIRONMENTS))
    outcomes = []
    for key in jax.random.split(jax.random.key(1), steps):
        action_key, step_key = jax.random.split(key)
        action = jax.random.uniform(action_key, (ENVIRONMENTS, 4), minval=-1, maxval=1)
        now, outcome = advance(drone, now, action, EPISODE_STEPS, jax.random.split(step_key, ENVIRONMENTS))
        outcomes.append(outcome)
    return now, outcomes


def test_an_episode_is_cut_at_its_longest_length_without_terminating():
    _, outcomes = fly(endless(sampled_drones(1)[0]), 2 * EPISODE_STEPS)
    for step, outcome in enumerate(outcomes, start=1):
        assert not np.any(outcome.terminated)
        assert np.all(outcome.finished == (step % EPISODE_STEPS == 0))
        assert np.all(outcome.episode.length == (step - 1) % EPISODE_STEPS + 1)


def test_a_crash_terminates_and_finishes():
    _, outcomes = fly(crashing(sampled_drones(1)[0]), 2)
    for outcome in outcomes:
        assert np.all(outcome.terminated)
        assert np.all(outcome.finished)
        assert np.all(outcome.episode.length == 1)


@pytest.mark.parametrize(("kind", "steps"), [(endless, EPISODE_STEPS), (crashing, 1)])
def test_the_outcome_is_before_the_fresh_start_and_the_next_episode_after_it(kind, steps):
    drone = on_device(kind(sampled_drones(1)[0]))
    following, outcomes = fly(drone, steps)
    last, key = outcomes[-1].episode, jax.random.key(0)
    # The task has no observation noise, so an observation is its state's.
    np.testing.assert_allclose(last.observation, observe(drone, last.state, key), atol=1e-6)
    np.testing.assert_allclose(following.observation, observe(drone, following.state, key), atol=1e-6)
    assert np.all(np.any(last.state.rotor_state != following.state.rotor_state, axis=1))
    assert not np.any(following.length)
    assert not np.any(following.total_reward)
    assert not np.any(following.state.last_action)


def test_fresh_starts_differ_between_environments_and_episodes():
    following, _ = fly(endless(sampled_drones(1)[0]), EPISODE_STEPS)
    again, _ = fly(endless(sampled_drones(1)[0]), 2 * EPISODE_STEPS)
    rotors = np.concatenate([following.state.rotor_state, again.state.rotor_state])
    assert len(np.unique(rotors, axis=0)) == 2 * ENVIRONMENTS


def test_the_total_is_the_sum_of_the_episodes_rewards():
    _, outcomes = fly(endless(sampled_drones(1)[0]), 2 * EPISODE_STEPS)
    second = np.sum([outcome.reward for outcome in outcomes[EPISODE_STEPS:]], axis=0)
    np.testing.assert_allclose(outcomes[-1].episode.total_reward, second, rtol=1e-5)


class Collected:
    """What a population that does not learn stored: three copies of a drone, endless, crashing and confined."""

    def __init__(self, config: Config) -> None:
        drone = sampled_drones(1)[0]
        drones = on_device(stack([endless(drone), crashing(drone), confined(drone)]))
        self.config = config
        self.steps = 4 * config.environment.episode_steps
        fresh = population.create(config, drones, jnp.arange(3))
        after, self.metrics = population.collect(config, fresh, drones, iterations=self.steps)
        environments = config.environment.environments_per_teacher
        rows = np.asarray(after.replay.rows[:, : self.steps * environments])
        # [T, steps, E, ROW_WIDTH]
        self.rows = rows.reshape(3, self.steps, environments, -1)
        self.next_observation = np.asarray(after.episodes.observation)

    def transitions(self, teacher: int) -> Transition:
        """Returns NumPy arrays [steps, E, ...]."""
        return jax.tree.map(np.asarray, replays.unpack(self.rows[teacher]))

    def continues(self, teacher: int) -> np.ndarray:
        """Returns where a transition's next observation is the one that the next transition starts from, [steps, E]."""
        stored = self.transitions(teacher)
        following = np.concatenate([stored.observation[1:], self.next_observation[teacher][None]])
        return np.all(stored.next_observation == following, axis=-1)


@pytest.fixture(scope="module")
def collected(tiny_config) -> Collected:
    return Collected(tiny_config)


def test_cut_episodes_are_stored_as_not_terminated_with_the_observation_before_the_reset(collected):
    stored = collected.transitions(0)
    assert not np.any(stored.terminated)
    cut = (np.arange(collected.steps) + 1) % collected.config.environment.episode_steps == 0
    np.testing.assert_array_equal(collected.continues(0), np.broadcast_to(~cut[:, None], stored.terminated.shape))
    # Where the reset went is far from where the drone would have got to: at most 1/2 a dt^2 beyond its velocity.
    dt, greatest_acceleration = collected.config.environment.dt, 100.0
    moved = stored.next_observation[..., POSITION] - stored.observation[..., POSITION]
    assert np.abs(moved - dt * stored.observation[..., VELOCITY]).max() < 0.5 * greatest_acceleration * dt**2


def test_crashes_are_stored_as_terminated_with_the_observation_before_the_reset(collected):
    stored = collected.transitions(1)
    assert np.all(stored.terminated == 1)
    assert np.all(stored.reward == sampled_drones(1)[0].mdp.reward.termination_penalty)
    assert not np.any(collected.continues(1))


def test_the_stored_action_is_the_one_that_the_next_observation_shows(collected):
    for teacher in range(3):
        stored = collected.transitions(teacher)
        np.testing.assert_array_equal(stored.next_observation[..., 18:22], stored.action)


@pytest.mark.parametrize("form", ["reference", "textbook"])
def test_a_stored_cut_bootstraps_and_a_stored_crash_does_not(collected, form):
    config = collected.config.sac.model_copy(update={"soft_target": form})
    next_value = 7.0
    for teacher, future in ((0, config.gamma * next_value), (1, 0.0)):
        stored = collected.transitions(teacher)
        target = losses.bellman_target(config, stored.reward, stored.terminated, next_value, 0.0, 0.2)
        np.testing.assert_allclose(target, stored.reward + future, rtol=1e-6)


def test_reported_returns_and_lengths_are_means_over_the_finished_episodes(collected):
    longest = collected.config.environment.episode_steps
    for teacher in range(3):
        stored = collected.transitions(teacher)
        returns, lengths = [], []
        for rewards, terminated in zip(stored.reward.T, stored.terminated.T, strict=True):
            total, length = 0.0, 0
            for reward, ended in zip(rewards, terminated, strict=True):
                total, length = total + float(reward), length + 1
                if ended or length == longest:
                    returns.append(total)
                    lengths.append(length)
                    total, length = 0.0, 0
        np.testing.assert_allclose(collected.metrics.episode_reward[teacher], np.mean(returns), rtol=1e-5)
        np.testing.assert_allclose(collected.metrics.episode_length[teacher], np.mean(lengths), rtol=1e-6)
    assert 1 < collected.metrics.episode_length[2] < longest
