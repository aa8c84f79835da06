"""The actor's objective over a window: H differentiable steps through the simulator, and the critics' value after them.

The objective of one window of H steps in one environment is

    J = sum_{k<H} gamma^k (r_k - alpha log pi(a_k|s_k)) + gamma^H (min_j Q'_j(s_H, a_H) - alpha log pi(a_H|s_H)),

the H-step value expansion SVG(H) (Heess et al. 2015) of the soft value (Haarnoja et al. 2018). Actions are drawn by
reparameterisation, so that the gradient of J goes through policy, simulator and reward, and beyond the window through
the target critics. The action a_H is that of a frozen actor.

Rewards are weighted by the probability of having survived so far (`rollout`), relative to the window's start.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.sac.networks import Parameters, critic_values, sample_action
from raptor_jax.sac.rollout import Rollout, rollout, survival
from raptor_jax.simulator import ACTION_DIM, State, draw_noise, episode, limit_ratio
from raptor_jax.simulator.episode import Episode

_ANGULAR_ACCELERATION = 10.0
"""Unit of the external torque in the critics' observation, as an angular acceleration in rad/s^2."""


class Step(struct.PyTreeNode):
    """A step of a window, or all of them with a leading axis [H]. No gradient passes through it."""

    observation: jax.Array
    """[26] before the step."""
    action: jax.Array
    """[4] drawn from the policy there."""
    log_probability: jax.Array
    """[] of that action."""
    reward: jax.Array
    """[] of the task, with the penalty at a termination."""
    terminated: jax.Array
    """[] bool, the step left the limits."""
    length: jax.Array
    """[] int32, steps of the episode after it."""
    total_reward: jax.Array
    """[] of the episode after it."""


class Window(struct.PyTreeNode):
    """A flown window."""

    steps: Step
    """Every array [H, ...]. Steps after a termination belong to no episode."""
    last_value: jax.Array
    """[] min_j Q'_j(s_H, a_H), in the critics' scale."""
    last_log_probability: jax.Array
    """[] of a_H."""
    disturbance: jax.Array
    """[6] what the critics observe in addition, constant in an episode: see `disturbance`."""


class Value(NamedTuple):
    """The value after a window: frozen networks, and the entropy weight."""

    actor: Parameters
    target_critic: Parameters
    alpha: jax.Array
    """[]"""


def value_scale(config: Config) -> float:
    """Returns the factor of the critics' values, (1 - gamma), with which they are as large as rewards."""
    return 1 - config.sac.gamma


def disturbance(drone: Drone, state: State) -> jax.Array:
    """Returns the external force and torque of an episode as the critics observe them [6].

    The force as a share of the weight, the torque as the angular acceleration that it causes, in 10 rad/s^2. The actor
    observes neither, but the return depends on them (asymmetric actor-critic, Pinto et al. 2018).
    """
    dynamics = drone.dynamics
    force = state.force / (dynamics.mass * jnp.linalg.norm(dynamics.gravity))
    return jnp.concatenate([force, dynamics.J_inv @ state.torque / _ANGULAR_ACCELERATION])


def fly(
    config: Config, actor: Parameters, future: Value, drone: Drone, start: Episode, key: jax.Array
) -> tuple[jax.Array, tuple[Episode, Window]]:
    """Flies one window of one episode.

    Args:
        config: settings.
        actor: the weights, with respect to which J is differentiated.
        future: the value after the window.
        drone: one drone.
        start: a running episode.
        key: random key of the window.

    Returns:
        J []; the episode in which the next window begins, a new one if this one ended; and the window.
    """
    fresh_key, noise_key, flight_key = jax.random.split(key, 3)
    horizon, gamma = config.sac.horizon, config.sac.gamma
    noise = jax.random.normal(noise_key, (horizon + 1, ACTION_DIM), start.observation.dtype)
    simulator_noise = draw_noise(drone, flight_key, horizon)
    flown = rollout(config, actor, future.alpha, drone, start, simulator_noise, noise[:-1])
    steps = _steps(start, flown)
    last = Episode(flown.last_state, flown.last_observation, steps.length[-1], steps.total_reward[-1])
    window, value = _evaluate_end(config, future, drone, last, steps, noise[-1])
    terminated = jnp.any(steps.terminated)
    after = gamma**horizon * flown.survived * ~terminated * value
    at_start = survival(config, limit_ratio(drone, start.state))
    objective = (jnp.sum(gamma ** jnp.arange(horizon) * flown.soft_reward) + after) / at_start
    over = terminated | (last.length >= config.environment.longest_in_training)
    fresh = episode.start(drone, fresh_key)
    return objective, (jax.tree.map(lambda new, old: jnp.where(over, new, old), fresh, last), window)


def _steps(start: Episode, flown: Rollout) -> Step:
    """Returns the steps of a window."""
    count = jnp.arange(1, flown.reward.size + 1, dtype=start.length.dtype)
    return Step(
        observation=flown.observation,
        action=flown.action,
        log_probability=flown.log_probability,
        reward=flown.reward,
        terminated=flown.terminated,
        length=start.length + count,
        total_reward=start.total_reward + jnp.cumsum(flown.reward),
    )


def _evaluate_end(
    config: Config, future: Value, drone: Drone, last: Episode, steps: Step, noise: jax.Array
) -> tuple[Window, jax.Array]:
    """Returns the whole window, and the soft value [] of its last state in units of reward."""
    seen_by_critics = disturbance(drone, last.state)
    action, log_pi = sample_action(config.sac, future.actor, last.observation, noise)
    observation = jnp.concatenate([last.observation, seen_by_critics])
    value = jnp.min(critic_values(config.sac, future.target_critic, observation, action))
    soft_value = value / value_scale(config) - future.alpha * log_pi
    return Window(steps, value, log_pi, seen_by_critics), soft_value
