"""A differentiable rollout of H steps: policy, simulator, reward, and a smooth probability of survival.

Termination has no gradient. A rollout therefore continues beyond the limits, and each reward is weighted by a smooth
probability of having survived so far, which falls as the greatest `limit_ratio` of the rollout passes 1.
"""

import functools
import operator
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.sac.networks import Parameters, policy, squash
from raptor_jax.simulator import (
    ACTION_DIM,
    OBSERVATION_DIM,
    Noise,
    State,
    Target,
    alive_reward,
    limit_ratio,
    observe,
    terminated,
)
from raptor_jax.simulator import step as simulate
from raptor_jax.simulator.compiler import kept_together
from raptor_jax.simulator.episode import Episode
from raptor_jax.simulator.vector import scalars

_LOST = 10.0
"""Distance beyond the limits, in survival widths, at which a state is frozen; survival has probability 5e-5 there."""

_LIMITED = OBSERVATION_DIM + 25
"""Leading numbers of a packed flight whose gradient is limited: all but `nearest` and a moving target, which does not
depend on the policy."""


class Rollout(NamedTuple):
    """A flight of H steps."""

    soft_reward: jax.Array
    """[H] r - alpha log pi with the penalty of a termination, weighted by the probability of having survived so far."""
    survived: jax.Array
    """[] probability of having survived all steps."""
    last_state: State
    last_observation: jax.Array
    """[26]"""
    observation: jax.Array
    """[H, 26] before each step. No gradient, as below."""
    action: jax.Array
    """[H, 4] drawn from the policy there."""
    log_probability: jax.Array
    """[H] log-probability of the action."""
    reward: jax.Array
    """[H] reward of the task, with the penalty at a termination."""
    terminated: jax.Array
    """[H] bool, the step violated a limit."""


class _Flight(NamedTuple):
    """What changes from step to step. Its order is that of the packed array, whose last number is `nearest`."""

    observation: jax.Array
    """[26] of the state."""
    state: State
    """None where a field is in `_Constant`."""
    nearest: jax.Array
    """[] greatest `limit_ratio` so far."""


class _Constant(NamedTuple):
    """What stays the same in an episode; fields as in `State`."""

    force: jax.Array
    torque: jax.Array
    target: Target | None
    """None where the task's targets move."""


def rollout(
    config: Config,
    actor: Parameters,
    alpha: jax.Array,
    drone: Drone,
    start: Episode,
    noise: Noise,
    action_noise: jax.Array,
) -> Rollout:
    """Flies H steps from a running episode.

    Args:
        config: settings.
        actor: weights of the policy.
        alpha: [] entropy weight.
        drone: one drone.
        start: the running episode in which the flight begins.
        noise: noise of the simulator, each array [H, ...].
        action_noise: [H, 4] standard normal draws of the policy.
    """
    changing, constant = _split(drone, start.state)
    # One array: on a GPU each array of the carry would be stored for the gradient by a kernel of its own.
    first, unpack = ravel_pytree(_Flight(start.observation, changing, limit_ratio(drone, start.state)))
    take_step = kept_together(functools.partial(_take_step, config, unpack))

    # Each step is recomputed for its gradient: storing its values costs more, in kernels and in memory.
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def step(before: jax.Array, noises: tuple[Noise, jax.Array]) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        output = policy(config.sac, actor, unpack(before).observation)
        after, soft_reward, record = take_step(drone, constant, alpha, before, output, *noises)
        return after, (soft_reward, jax.lax.stop_gradient(before), jax.lax.stop_gradient(record))

    last, (soft_reward, flights, records) = jax.lax.scan(step, first, (noise, action_noise))
    end: _Flight = unpack(last)
    action, log_probability, reward, left = jnp.split(records, [ACTION_DIM, ACTION_DIM + 1, ACTION_DIM + 2], axis=-1)
    return Rollout(
        soft_reward=soft_reward,
        survived=survival(config, end.nearest),
        last_state=_joined(end.state, constant),
        last_observation=end.observation,
        observation=jax.vmap(unpack)(flights).observation,
        action=action,
        log_probability=log_probability[:, 0],
        reward=reward[:, 0],
        terminated=left[:, 0] > 0,
    )


def survival(config: Config, nearest: jax.Array) -> jax.Array:
    """Returns the probability of survival of a flight whose greatest `limit_ratio` so far is `nearest`."""
    return jax.nn.sigmoid((1 - nearest) / config.sac.survival_width)


def learned_penalty(config: Config, penalty: jax.Array) -> jax.Array:
    """Returns the reward of a termination in training: the lower of the setting and the task's own."""
    return jnp.minimum(penalty, config.sac.termination_penalty)


def _take_step(
    config: Config,
    unpack: Callable[[jax.Array], _Flight],
    drone: Drone,
    constant: _Constant,
    alpha: jax.Array,
    packed: jax.Array,
    policy_output: jax.Array,
    noise: Noise,
    action_noise: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Takes one step, without the network.

    Returns:
        The flight after it, packed; the soft reward []; action, log-probability, reward and termination [7].
    """
    means, log_stds = jnp.split(policy_output, 2)
    draws = zip(scalars(means), scalars(log_stds), scalars(action_noise), strict=True)
    entries, log_densities = zip(*(squash(config.sac, *draw) for draw in draws), strict=True)
    action, log_probability = jnp.stack(entries), functools.reduce(operator.add, log_densities)
    before = unpack(packed)
    state = _joined(before.state, constant)
    next_state = simulate(drone, state, action, noise)
    alive, penalty = alive_reward(drone, state, action, next_state), drone.mdp.reward.termination_penalty
    nearest = jnp.maximum(before.nearest, limit_ratio(drone, next_state))
    survived, survives = survival(config, before.nearest), survival(config, nearest)
    at_termination = (survived - survives) * learned_penalty(config, penalty)
    soft_reward = survives * alive + at_termination - survived * alpha * log_probability
    left = terminated(drone, next_state)
    record = jnp.stack([*entries, log_probability, jnp.where(left, penalty, alive), left.astype(alive.dtype)])
    moved = ravel_pytree((observe(drone, next_state, noise.observation), _split(drone, next_state)[0]))[0]
    # Far beyond its limits the state is frozen, because unbounded rates would overflow.
    lost = before.nearest > 1 + _LOST * config.sac.survival_width
    held = jnp.where(lost, packed[:-1], moved)
    limited = _limit_gradient(config.sac.state_gradient_limit, held[:_LIMITED])
    return jnp.concatenate([limited, held[_LIMITED:], nearest[None]]), soft_reward, record


def _split(drone: Drone, state: State) -> tuple[State, _Constant]:
    """Returns the part of the state that changes from step to step, and the constant part."""
    moving = drone.trajectory is not None
    changing = state.replace(force=None, torque=None, target=state.target if moving else None)
    return changing, _Constant(state.force, state.torque, None if moving else state.target)


def _joined(changing: State, constant: _Constant) -> State:
    """Returns the state from the parts that `_split` returned."""
    target = changing.target if constant.target is None else constant.target
    return changing.replace(force=constant.force, torque=constant.torque, target=target)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _limit_gradient(limit: float, values: jax.Array) -> jax.Array:
    """Returns the values unchanged; the gradient that flows back through them is clipped to the norm `limit`.

    A tumbling vehicle amplifies gradients without bound, and one such flight would dominate all others. A non-finite
    gradient counts as 0.
    """
    del limit
    return values


def _limit_gradient_forward(limit: float, values: jax.Array) -> tuple[jax.Array, None]:
    del limit
    return values, None


def _limit_gradient_backward(limit: float, _: None, gradient: jax.Array) -> tuple[jax.Array]:
    # Entry by entry, because a reduction would be a separate kernel.
    norm = jnp.sqrt(sum(entry * entry for entry in scalars(gradient)))
    factor = jnp.minimum(1, limit / jnp.maximum(norm, limit))
    return (jnp.where(jnp.isfinite(norm), gradient * factor, 0),)


_limit_gradient.defvjp(_limit_gradient_forward, _limit_gradient_backward)
