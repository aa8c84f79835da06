"""Searches for the best flight in an episode that is known in advance: a bound of the return that is possible in it.

The search adds an offset to the kept actor's output, before tanh, at every step of an episode, and raises the return of
the whole episode by gradient ascent through the simulator (Adam). The actor stays in the loop: a sequence of actions
alone is ill-conditioned, because every step amplifies the errors of the steps before. The objective weights rewards
with a smooth probability of survival, as `sac.rollout` does, because a termination has no gradient; flights are
compared by the return of `flights.evaluate`. The result is a lower bound of the best possible return.

A search from the kept actor's own flight finds the same return as other starts do, unless that flight terminates. Only
episodes whose best flight terminates are therefore searched again, from weaker and stronger first reactions. On drones
that turn quickly, the first steps of the search can be too large to recover from: if it finds nothing better than the
kept actor's flight, it is repeated with smaller steps.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from raptor_jax import sac
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.evaluation import flights
from raptor_jax.evaluation.flights import Flight
from raptor_jax.sac.networks import policy
from raptor_jax.sac.rollout import Rollout, rollout
from raptor_jax.simulator import ACTION_DIM, Noise, draw_noise, episode
from raptor_jax.simulator.episode import Episode


class Search(NamedTuple):
    """Settings of the gradient ascent. Measured on eight drones (docs/evaluation.md)."""

    learning_rate: float = 0.2
    """Adam's, with cosine decay. The costs are norms, around whose zeros a constant rate would oscillate."""
    last_rate: float = 0.002
    """Learning rate of the last iteration, as a share of the first one."""
    beta1: float = 0.7
    beta2: float = 0.9
    state_gradient_limit: float = 1000.0
    """As in `sac`, where 200 suits windows, which are shorter than episodes; here 200 lowers the ceilings by 1 %."""


class Start(NamedTuple):
    """Initial offsets of a search: the kept actor's outputs are multiplied by 1 + scale * exp(-t / time_constant)."""

    scale: jax.Array | float
    time_constant: jax.Array | float
    """s."""
    rate: jax.Array | float = 1.0
    """Learning rate, as a share of the search's."""


class _Task(NamedTuple):
    """A teacher and an episode, for the flights of a search."""

    config: Config
    """Settings in which `rollout` draws tanh(mean + noise): the policy's standard deviation is 1."""
    actor: sac.Parameters
    drone: Drone
    first: Episode
    """The beginning of the episode."""
    noise: Noise
    """Noise of the steps of the episode."""

    def fly(self, offsets: jax.Array) -> Rollout:
        """Returns the flight with the offsets [steps, 4] to the actor's outputs; it can be differentiated."""
        return rollout(self.config, self.actor, jnp.zeros(()), self.drone, self.first, self.noise, offsets)


class Found(struct.PyTreeNode):
    """The best flight that a search found for an episode; its return is at least that of the kept actor."""

    kept_return: jax.Array
    """[] return of the kept actor."""
    best_return: jax.Array
    """[] return of the best flight."""
    terminated: jax.Array
    """[] bool, whether the best flight ends by termination."""
    kept_terminated: jax.Array
    """[] bool, whether the kept actor's flight ends by termination."""
    offsets: jax.Array
    """[steps, 4] added to the kept actor's output in the best flight."""


class _Ascent(NamedTuple):
    """What changes from iteration to iteration."""

    offsets: jax.Array
    """[steps, 4]."""
    moments: optax.OptState
    best: jax.Array
    """[steps, 4] offsets of the best flight so far."""
    best_return: jax.Array


def find(
    config: Config,
    search: Search,
    iterations: jax.Array,
    actor: sac.Parameters,
    drone: Drone,
    key: jax.Array,
    start: Start,
) -> Found:
    """Searches for the best flight of one drone in one episode.

    Args:
        config: settings.
        search: settings of the gradient ascent.
        iterations: [] int32, number of iterations of the ascent.
        actor: weights of the kept actor.
        drone: its drone.
        key: key of the episode, from `flights.episode_keys`.
        start: where the search begins.
    """
    offsets = _ascend(_task(config, search, actor, drone, key), search, iterations, start)
    best = fly(config, actor, drone, key, offsets)
    kept = fly(config, actor, drone, key, jnp.zeros_like(offsets))
    # The search computes the same steps in another order of operations, so its return is not compared here.
    better = best.episode.total_reward > kept.episode.total_reward
    return Found(
        kept_return=kept.episode.total_reward,
        best_return=jnp.where(better, best.episode.total_reward, kept.episode.total_reward),
        terminated=jnp.where(better, best.terminated, kept.terminated),
        kept_terminated=kept.terminated,
        offsets=jnp.where(better, offsets, 0),
    )


def fly(config: Config, actor: sac.Parameters, drone: Drone, key: jax.Array, offsets: jax.Array) -> Flight:
    """Flies an episode of `flights.evaluate` with the action tanh(mean + offset); the offsets are [steps, 4]."""

    def step(flight: Flight, inputs: tuple[jax.Array, jax.Array]) -> tuple[Flight, None]:
        step_key, offset = inputs
        action = jnp.tanh(policy(config.sac, actor, flight.episode.observation)[:ACTION_DIM] + offset)
        return flights.advance(config, drone, flight, action, step_key), None

    reset_key, step_keys = flights.flight_keys(config, key)
    return jax.lax.scan(step, flights.reset(drone, reset_key), (step_keys, offsets))[0]


def _task(config: Config, search: Search, actor: sac.Parameters, drone: Drone, key: jax.Array) -> _Task:
    """Returns the episode of this key with the draws of `flights.rollout`."""
    changed = {"log_std_min": 0.0, "log_std_max": 0.0, "state_gradient_limit": search.state_gradient_limit}
    config = config.model_copy(update={"sac": config.sac.model_copy(update=changed)})
    reset_key, step_keys = flights.flight_keys(config, key)
    noise = jax.vmap(lambda key: draw_noise(drone, key))(step_keys)
    return _Task(config, actor, drone, episode.start(drone, reset_key), noise)


def _ascend(task: _Task, search: Search, iterations: jax.Array, start: Start) -> jax.Array:
    """Returns the offsets [steps, 4] of the best flight of all iterations."""
    adam = optax.scale_by_adam(search.beta1, search.beta2)

    def cost(offsets: jax.Array) -> tuple[jax.Array, jax.Array]:
        flown = task.fly(offsets)
        return -flown.soft_reward.sum(), _evaluated_return(flown)

    def iterate(number: jax.Array, carried: _Ascent) -> _Ascent:
        (_, evaluated), gradient = jax.value_and_grad(cost, has_aux=True)(carried.offsets)
        better = evaluated > carried.best_return
        step, moments = adam.update(jnp.where(jnp.isfinite(gradient), gradient, 0), carried.moments)
        return _Ascent(
            offsets=carried.offsets - start.rate * _rate(search, number / iterations) * step,
            moments=moments,
            best=jnp.where(better, carried.offsets, carried.best),
            best_return=jnp.where(better, evaluated, carried.best_return),
        )

    offsets = _first_offsets(task, start)
    begin = _Ascent(offsets, adam.init(offsets), offsets, jnp.full((), -jnp.inf))
    return jax.lax.fori_loop(0, iterations, iterate, begin).best


def _rate(search: Search, progress: jax.Array) -> jax.Array:
    """Returns the learning rate at a progress of 0 to 1 through the search."""
    falling = (1 + jnp.cos(jnp.pi * progress)) / 2
    return search.learning_rate * (search.last_rate + (1 - search.last_rate) * falling)


def _first_offsets(task: _Task, start: Start) -> jax.Array:
    """Returns the offsets [steps, 4] of a start, from the outputs of the kept actor's own flight."""
    steps = task.config.environment.episode_steps
    flown = task.fly(jnp.zeros((steps, ACTION_DIM)))
    # Beyond the limits, outputs are large and mean nothing.
    outputs = jnp.clip(policy(task.config.sac, task.actor, flown.observation)[:, :ACTION_DIM], -3, 3)
    time = jnp.arange(steps)[:, None] * task.drone.integration.dt
    return start.scale * jnp.exp(-time / start.time_constant) * outputs


def _evaluated_return(flown: Rollout) -> jax.Array:
    """Returns the return [] of a flight up to its first termination."""
    before = jnp.cumsum(flown.terminated) - flown.terminated
    return jnp.where(before == 0, flown.reward, 0).sum()
