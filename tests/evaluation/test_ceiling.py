"""The search for the best flight: never worse than the actor, flown exactly, and as good as can be computed by hand."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from raptor_jax import evaluation, sac
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone
from raptor_jax.evaluation import FINAL, ceiling, ceilings
from raptor_jax.evaluation.ceiling import Found, Search, Start
from raptor_jax.evaluation.ceilings import Ceilings, Effort
from raptor_jax.evaluation.flights import episode_keys
from raptor_jax.simulator.compiler import compiling_for, options
from tests.evaluation.known import EPISODES, STEPS, falling, hovering, hovering_action
from tests.sac.networks import constant_actor
from validation.drones import on_device, sampled_drones, take

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]

ITERATIONS = 60
SEARCH = Search(learning_rate=0.05)
"""Constant actors correct nothing: short steps, or the first ones lead too far away."""


@functools.partial(jax.jit, static_argnames="config", compiler_options=options("cpu", runs_once=True))
def _searched(
    config: Config, iterations: jax.Array, actor: sac.Parameters, drone: Drone, keys: jax.Array, scale: jax.Array
) -> Found:
    find = functools.partial(ceiling.find, config, SEARCH, iterations, actor, drone, start=Start(scale, 1e6))
    return jax.vmap(find)(keys)


def searched(config: Config, actor: sac.Parameters, drone: Drone, scale: float = 0.0) -> Found:
    """Returns the best flights of one drone in the evaluation's episodes, [E, ...]; calls share a compiled program."""
    keys = episode_keys(config, EPISODES, FINAL)
    with compiling_for("cpu"):
        return _searched(config, jnp.int32(ITERATIONS), actor, drone, keys, jnp.float32(scale))


def commanding(config: Config, action: float) -> sac.Parameters:
    """Returns an actor of one constant action."""
    return constant_actor(config.sac, float(np.arctanh(action)), 0.0)


@pytest.fixture(scope="module")
def drone() -> Drone:
    return on_device(sampled_drones(1)[0])


@pytest.fixture(scope="module")
def idle(config, drone) -> sac.Parameters:
    """A teacher that does nothing: it commands the hovering throttle in every state."""
    return commanding(config, hovering_action(drone))


@pytest.fixture(scope="module")
def found(config, drone, idle) -> Found:
    return searched(config, idle, drone)


def test_the_best_flights_are_reproducible_step_by_step(config, drone, idle, found):
    """Flown again with their offsets, step by step in the simulator, they have the reported return."""
    fly = jax.jit(jax.vmap(lambda key, offsets: ceiling.fly(config, idle, drone, key, offsets)))
    again = fly(episode_keys(config, EPISODES, FINAL), found.offsets)
    np.testing.assert_allclose(again.episode.total_reward, found.best_return, rtol=1e-4)
    np.testing.assert_array_equal(again.terminated, found.terminated)
    assert np.abs(found.offsets).max(axis=(1, 2)).min() > 0.1


def test_a_teacher_that_does_nothing_is_far_below_its_ceiling(found):
    assert np.all(found.best_return > found.kept_return + 2)
    # A step makes 1 at best.
    assert np.all(found.best_return < STEPS)


def test_the_best_return_is_approached_where_it_is_known_and_not_exceeded(config):
    """Of a drone that hovers at the target: a reward of 1 a step, less the change of the action from 0 at the first."""
    sampled = sampled_drones(1)[0]
    action, reward = hovering_action(sampled), sampled.mdp.reward
    best = STEPS * reward.constant - reward.scale * reward.d_action * 2 * abs(action)
    result = searched(config, commanding(config, action + 0.1), on_device(hovering(sampled)))
    assert np.all(result.kept_return < best - 1)
    np.testing.assert_array_less(result.best_return, best + 0.02)
    np.testing.assert_array_less(best - result.best_return, 0.5 * (best - result.kept_return))


def test_where_no_action_helps_the_ceiling_is_the_return(config):
    drone = on_device(falling(sampled_drones(1)[0], limit=2.0))
    result = searched(config, commanding(config, 0.0), drone)
    np.testing.assert_array_equal(result.best_return, result.kept_return)
    np.testing.assert_array_equal(result.offsets, 0)


def test_a_search_begins_at_its_start(config, drone):
    """A scale of -1 turns an actor of full thrust into one of the action 0, whose return is then the least."""
    off, full = commanding(config, 0.0), commanding(config, 0.99)
    result = searched(config, full, drone, -1.0)
    first = searched(config, off, drone).kept_return
    assert np.all(first > result.kept_return)
    assert np.all(result.best_return >= first - 1e-3)


FEW = Effort(5, 5)


def found_all(
    config: Config,
    drones: Drone,
    actors: sac.Parameters,
    rows: Sequence[int] = (0, 1, 2),
    effort: Effort = FEW,
) -> Ceilings:
    """Returns what is found of some of three teachers, in blocks of two jobs of two searches."""
    chosen = take((actors, drones), np.array(rows))
    return ceilings.find_all(config, *chosen, EPISODES, Console(quiet=True), effort)


@pytest.fixture
def actors(config, drones, monkeypatch) -> sac.Parameters:
    """Of constant actions, [3, ...]: hovering, full thrust, which leaves the limits, and hovering again."""
    monkeypatch.setitem(ceilings._JOBS, "cpu", 2)
    monkeypatch.setattr(ceilings, "_TOGETHER", 2)
    hovering = [hovering_action(take(drones, row)) for row in range(3)]
    actions = (hovering[0], 0.995, hovering[2])
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(commanding(config, action) for action in actions))


def test_a_ceiling_does_not_depend_on_the_other_teachers(config, drones, actors):
    everyone, two = found_all(config, drones, actors), found_all(config, drones, actors, (2, 0))
    judged = evaluation.evaluate(config, actors, drones, EPISODES, FINAL)
    np.testing.assert_allclose(everyone.kept_return.mean(axis=1), judged.mean_return, rtol=1e-4)
    np.testing.assert_allclose(everyone.kept_terminated.mean(axis=1), judged.share_terminated)
    assert np.all(everyone.best_return >= everyone.kept_return)
    assert np.any(everyone.best_return > everyone.kept_return)
    for name, values in two._asdict().items():
        np.testing.assert_array_equal(values, getattr(everyone, name)[[2, 0]], err_msg=name)


def test_only_flights_that_crash_are_searched_again(config, drones, actors, monkeypatch):
    monkeypatch.setattr(ceilings, "REACTIONS", ())
    once = found_all(config, drones, actors, effort=Effort(1, 60))
    crashed = once.terminated
    assert 0 < crashed.sum() < crashed.size
    # The second turns full thrust into the action 0.
    monkeypatch.setattr(ceilings, "REACTIONS", (Start(0.5, 1.0), Start(-1.0, 100.0)))
    again = found_all(config, drones, actors, effort=Effort(1, 60))
    np.testing.assert_array_equal(again.best_return[~crashed], once.best_return[~crashed])
    assert np.all(again.best_return[crashed] > once.best_return[crashed])
    assert not again.terminated.any()


def test_a_non_finite_actor_has_no_ceiling(config, drones, actors):
    result = found_all(config, drones, jax.tree.map(lambda leaf: leaf.at[1].set(jnp.nan), actors))
    assert np.isfinite(result.best_return[[0, 2]]).all()
    assert not np.isfinite(result.best_return[1]).any()
