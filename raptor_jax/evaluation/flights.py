"""Evaluation of actors: deterministic flights from fixed seeds, all T teachers and E episodes at once."""

import functools
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.simulator import ACTION_DIM, State, draw_noise, episode, reward
from raptor_jax.simulator.episode import Episode, Outcome
from raptor_jax.simulator.quaternion import heading

SELECTION, FINAL = 0, 1
"""Streams of seeds: SELECTION chooses the best actor during training; FINAL is for the final evaluation only."""

PER_TEACHER, PER_EPISODE, PER_FLIGHT = (0, None), (None, 0), (0, 0)
"""Leading axes of an argument of `over_flights`: [T, ...], [E, ...] or [T, E, ...]."""


class Evaluation(struct.PyTreeNode):
    """Results per teacher, each [T], over its episodes; the offsets are NaN if no episode reached its second half."""

    mean_return: jax.Array
    std_return: jax.Array
    episode_length: jax.Array
    """Mean, in steps."""
    share_terminated: jax.Array
    """Fraction of the episodes that were terminated, in [0, 1]."""
    final_position_error: jax.Array
    """Mean distance from the target at the end of an episode, m."""
    position_offset: jax.Array
    """Norm of the mean position error over the second half of all episodes, m: the steady-state error."""
    yaw_offset: jax.Array
    """Angle between the mean heading over the same steps and that of the task, rad."""


class Evaluator(Protocol):
    """Evaluates the drones of T teachers: `evaluate`, or the same episodes with another policy or simulator."""

    def __call__(self, config: Config, actors: sac.Parameters, drones: Drone, episodes: int, stream: int) -> Evaluation:
        """Returns the results per teacher; the arguments are those of `evaluate`."""


class Flight(struct.PyTreeNode):
    """An episode that is not reset at its end: once finished, it no longer changes."""

    episode: Episode
    finished: jax.Array
    """[] bool."""
    terminated: jax.Array
    """[] bool, whether it was terminated."""
    late_steps: jax.Array
    """[] number of steps in the second half of the episode so far."""
    late_position_error: jax.Array
    """[3] sum of the position error over these steps, m, world frame."""
    late_heading: jax.Array
    """[2] sum of the heading over these steps, see `simulator.quaternion.heading`."""


class Rollout(struct.PyTreeNode):
    """Every step of an episode; 0 after its end."""

    state: State
    """Each [steps, ...], before the action."""
    observation: jax.Array
    """[steps, 26] of that state."""
    action: jax.Array
    """[steps, 4] taken in that state."""
    reward: jax.Array
    """[steps] of that action."""


class Policy(Protocol):
    """A controller outside of JAX, with or without a memory."""

    def reset(self) -> None:
        """Clears the memory at the beginning of a batch of new episodes."""

    def evaluate_step(self, observation: np.ndarray) -> np.ndarray:
        """Returns the actions [B, 4] at the observations [B, 26] of B episodes, one step after the last call."""


Kept = TypeVar("Kept")
Memory = TypeVar("Memory")
Act = Callable[[Memory, jax.Array, jax.Array], tuple[Memory, jax.Array, jax.Array]]
"""(memory, observation [26], key of the step) -> the next memory, the action [4], and the key that remains for the
noise of the simulator. A teacher's memory is None."""
Keep = Callable[[Flight, jax.Array, Flight], Kept]
"""(flight before the step, action [4], flight after the step) -> the record of the step."""


@functools.partial(jax.jit, static_argnames=("config", "episodes", "stream", "sampled"))
def evaluate(
    config: Config, actors: sac.Parameters, drones: Drone, episodes: int, stream: int, sampled: bool = False
) -> Evaluation:
    """Evaluates each actor on its own drone, with the mean action or with sampled actions.

    Args:
        config: settings; the seeds follow from `training.seed`.
        actors: weights, each [T, ...].
        drones: every array [T, ...].
        episodes: E, the episodes of each teacher; all teachers have the same initial draws.
        stream: SELECTION or FINAL.
        sampled: sample every action from the policy, as in training.
    """
    policy = _sampled if sampled else _deterministic

    def fly(actor: sac.Parameters, drone: Drone, key: jax.Array) -> Flight:
        return fly_episode(config, drone, key, policy(config, actor), None, keep_nothing)[0]

    keys = episode_keys(config, episodes, stream)
    return summary(over_flights(fly, PER_TEACHER, PER_TEACHER, PER_EPISODE)(actors, drones, keys))


@functools.partial(jax.jit, static_argnames=("config", "episodes", "stream"))
def roll_out(config: Config, actor: sac.Parameters, drone: Drone, episodes: int, stream: int) -> tuple[Flight, Rollout]:
    """Flies one actor on its drone in the episodes of `evaluate`, and returns every step; every array [E, ...].

    Args:
        config: settings; the seeds follow from `training.seed`.
        actor: its weights.
        drone: its drone.
        episodes: E.
        stream: SELECTION or FINAL.
    """
    flights = jax.vmap(functools.partial(_record, config), in_axes=(None, None, 0))
    return flights(actor, drone, episode_keys(config, episodes, stream))


@functools.partial(jax.jit, static_argnames=("config", "episodes", "stream"))
def roll_out_first(
    config: Config, actors: sac.Parameters, drones: Drone, episodes: int, stream: int
) -> tuple[Flight, Rollout]:
    """Flies the first of the episodes of `evaluate`, with the same arguments; every array [T, ...]."""
    key = episode_keys(config, episodes, stream)[0]
    return jax.vmap(functools.partial(_record, config), in_axes=(0, 0, None))(actors, drones, key)


def evaluate_policy(config: Config, policy: Policy, drones: Drone, episodes: int, stream: int) -> Evaluation:
    """Evaluates one policy outside of JAX on every drone, in the same episodes as `evaluate`.

    The policy is called once per step, with the observations of all B = T E episodes. Arguments and result are those of
    `evaluate`.
    """
    reset_keys, step_keys = jax.vmap(lambda key: flight_keys(config, key))(episode_keys(config, episodes, stream))
    flights = jax.jit(over_flights(reset, PER_TEACHER, PER_EPISODE))(drones, reset_keys)
    step = jax.jit(
        over_flights(functools.partial(advance, config), PER_TEACHER, PER_FLIGHT, PER_FLIGHT, PER_EPISODE),
        donate_argnums=1,
    )
    policy.reset()
    for number in range(config.environment.episode_steps):
        observation = np.asarray(flights.episode.observation)
        batch = policy.evaluate_step(observation.reshape(-1, observation.shape[-1]))
        action = jnp.asarray(batch, observation.dtype).reshape(*observation.shape[:2], ACTION_DIM)
        flights = step(drones, flights, action, step_keys[:, number])
    return summary(flights)


def over_flights(function: Callable[..., Any], *axes: tuple[int | None, int | None]) -> Callable[..., Any]:
    """Maps a function of one flight over T teachers and E episodes; its results become [T, E, ...].

    Args:
        function: takes as many arguments as there are `axes`.
        axes: of each argument PER_TEACHER, PER_EPISODE or PER_FLIGHT.
    """
    teacher_axes, episode_axes = zip(*axes, strict=True)
    return jax.vmap(jax.vmap(function, in_axes=episode_axes), in_axes=teacher_axes)


def fly_episode(
    config: Config, drone: Drone, key: jax.Array, act: Act[Memory], memory: Memory, keep: Keep[Kept]
) -> tuple[Flight, Kept]:
    """Flies one episode of one drone to its end.

    Args:
        config: settings.
        drone: one drone.
        key: key of the episode.
        act: the policy.
        memory: memory of the policy at the beginning of an episode.
        keep: returns the record of a step.

    Returns:
        The finished flight, and what `keep` returned for each step, every array [steps, ...].
    """

    def step(before: tuple[Flight, Memory], key: jax.Array) -> tuple[tuple[Flight, Memory], Kept]:
        flight, memory = before
        memory, action, key = act(memory, flight.episode.observation, key)
        following = advance(config, drone, flight, action, key)
        return (following, memory), keep(flight, action, following)

    reset_key, step_keys = flight_keys(config, key)
    (flight, _), kept = jax.lax.scan(step, (reset(drone, reset_key), memory), step_keys)
    return flight, kept


def _record(config: Config, actor: sac.Parameters, drone: Drone, key: jax.Array) -> tuple[Flight, Rollout]:
    """Flies one episode with the mean action, and keeps every step."""

    def keep(flight: Flight, action: jax.Array, following: Flight) -> Rollout:
        before = flight.episode
        step_reward = reward(drone, before.state, action, following.episode.state)
        taken = Rollout(before.state, before.observation, action, step_reward)
        return jax.tree.map(lambda leaf: jnp.where(flight.finished, 0, leaf), taken)

    return fly_episode(config, drone, key, _deterministic(config, actor), None, keep)


def keep_nothing(flight: Flight, action: jax.Array, following: Flight) -> None:
    """Keeps nothing of a step of `fly_episode`."""
    return None


def _deterministic(config: Config, actor: sac.Parameters) -> Act[None]:
    return lambda _, observation, key: (None, sac.deterministic_action(config.sac, actor, observation), key)


def _sampled(config: Config, actor: sac.Parameters) -> Act[None]:
    def act(_: None, observation: jax.Array, key: jax.Array) -> tuple[None, jax.Array, jax.Array]:
        key, noise_key = jax.random.split(key)
        noise = jax.random.normal(noise_key, (ACTION_DIM,))
        return None, sac.sample_action(config.sac, actor, observation, noise)[0], key

    return act


def reset(drone: Drone, key: jax.Array) -> Flight:
    """Returns a flight at the beginning of an episode."""
    fresh = episode.start(drone, key)
    false, zero = jnp.zeros((), bool), jnp.zeros_like(fresh.total_reward)
    return Flight(fresh, false, false, zero, jnp.zeros_like(fresh.state.position), jnp.zeros(2))


def advance(config: Config, drone: Drone, flight: Flight, action: jax.Array, key: jax.Array) -> Flight:
    """Takes one step of a flight; one that is finished is returned unchanged."""
    noise = draw_noise(drone, key)
    outcome = episode.advance(drone, flight.episode, action, config.environment.episode_steps, noise)
    return accumulate(config, flight, outcome)


def accumulate(config: Config, flight: Flight, outcome: Outcome) -> Flight:
    """Adds the outcome of a step to a flight; one that is finished is returned unchanged."""
    state = outcome.episode.state
    late = outcome.episode.length > config.environment.episode_steps // 2
    following = Flight(
        outcome.episode,
        outcome.finished,
        outcome.terminated,
        flight.late_steps + late,
        flight.late_position_error + late * (state.position - state.target.position),
        flight.late_heading + late * heading(state.orientation),
    )
    return jax.tree.map(lambda new, old: jnp.where(flight.finished, old, new), following, flight)


def episode_keys(config: Config, episodes: int, stream: int) -> jax.Array:
    """Returns the keys [E] of the episodes of a stream, the same for every teacher."""
    # Above the identities of teachers, which are folded into the same key in training.
    key = jax.random.fold_in(jax.random.key(config.training.seed), 2**31 + stream)
    return jax.random.split(key, episodes)


def flight_keys(config: Config, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the key [] of the reset of an episode, and the keys [steps] of its steps."""
    reset_key, flight_key = jax.random.split(key)
    return reset_key, jax.random.split(flight_key, config.environment.episode_steps)


def summary(flights: Flight) -> Evaluation:
    """Returns the results of flights [T, E]."""
    last = flights.episode
    error = jnp.linalg.norm(last.state.position - last.state.target.position, axis=-1)
    late_steps = flights.late_steps.sum(axis=1)
    offset = flights.late_position_error.sum(axis=1) / late_steps[:, None]
    mean_heading = flights.late_heading.sum(axis=1)
    return Evaluation(
        mean_return=last.total_reward.mean(axis=1),
        std_return=last.total_reward.std(axis=1),
        episode_length=last.length.mean(axis=1),
        share_terminated=flights.terminated.mean(axis=1),
        final_position_error=error.mean(axis=1),
        position_offset=jnp.linalg.norm(offset, axis=-1),
        yaw_offset=jnp.where(late_steps > 0, jnp.abs(jnp.arctan2(mean_heading[:, 1], mean_heading[:, 0])), jnp.nan),
    )
