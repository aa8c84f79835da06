"""The analytic gradient: what it is the gradient of, and what it does where the task has none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import apg, evaluation, sac
from raptor_jax.config import Config
from raptor_jax.dynamics.parameters import stack
from raptor_jax.population import apg as population
from raptor_jax.population import start as pooled
from raptor_jax.simulator import episode, limit_ratio, terminated
from tests.simulator.drones import calm, on_device, replaced, sampled_drones

HORIZON = 6
UPDATES = 160
"""Of the whole training."""
CONFIG = Config.model_validate(
    {
        "environment": {"episode_steps": 50},
        "sac": {"actor_hidden_dim": 8},
        "apg": {"environments_per_teacher": 1, "horizon": HORIZON, "gradient_clip": 1e9, "state_gradient_limit": 1e9},
    }
)


@pytest.fixture(scope="module")
def drone():
    return sampled_drones(1)[0]


def window(config, drone, actor, key=0):
    """Returns the weighted return of one window, the episode after it, and whether it left its limits."""
    drone = on_device(drone)
    fresh = episode.start(drone, jax.random.key(3))
    total, (following, left, _) = apg._fly_window(config, actor, drone, fresh, jax.random.key(key))
    return total, following, left


def test_far_from_the_limits_a_window_is_worth_its_discounted_rewards(drone):
    wide = replaced(drone, mdp__termination__position_threshold=1e4, mdp__termination__linear_velocity_threshold=1e4)
    wide = replaced(wide, mdp__termination__angular_velocity_threshold=1e4)
    actor = sac.create(CONFIG.sac, jax.random.key(1)).actor
    total, following, left = window(CONFIG, wide, actor)
    assert not left
    now, expected = episode.start(on_device(wide), jax.random.key(3)), 0.0
    _, flight_key = jax.random.split(jax.random.key(0))
    for step, key in enumerate(jax.random.split(flight_key, HORIZON)):
        action = sac.deterministic_action(CONFIG.sac, actor, now.observation)
        outcome = episode.advance(on_device(wide), now, action, 50, key)
        expected += CONFIG.apg.gamma**step * float(outcome.reward)
        now = outcome.episode
    assert float(total) == pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(following.state.position, now.state.position, rtol=1e-6)


def test_the_gradient_is_that_of_finite_differences(drone):
    # Double precision: the differences of single precision are noise.
    with jax.enable_x64(True):
        double = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), calm(drone))
        actor = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), sac.create(CONFIG.sac, jax.random.key(1)).actor)
        fresh = episode.start(double, jax.random.key(3))

        def value(bias):
            mlp = dict(actor["params"]["mlp"])
            mlp["output"] = {**mlp["output"], "bias": bias}
            return apg._fly_window(CONFIG, {"params": {"mlp": mlp}}, double, fresh, jax.random.key(0))[0]

        bias = actor["params"]["mlp"]["output"]["bias"]
        gradient = np.asarray(jax.grad(value)(bias))
        for entry in range(4):
            small = jnp.zeros_like(bias).at[entry].set(1e-6)
            difference = (value(bias + small) - value(bias - small)) / 2e-6
            assert gradient[entry] == pytest.approx(float(difference), rel=1e-4)
    assert np.all(gradient[4:] == 0), "the standard deviation of the policy flies nothing"


def test_leaving_the_limits_costs_the_penalty_once_and_ends_the_episode(drone):
    # Within the first window far beyond the limits: nothing is gained there but the penalty.
    tight = replaced(drone, mdp__termination__position_threshold=1e-3)
    actor = sac.create(CONFIG.sac, jax.random.key(1)).actor
    total, following, left = window(CONFIG, tight, actor)
    assert left
    assert float(total) == pytest.approx(float(drone.mdp.reward.termination_penalty), rel=1e-3)
    assert following.length == 0


def test_an_episode_ends_with_its_last_window(drone):
    short = CONFIG.model_copy(update={"environment": CONFIG.environment.model_copy(update={"episode_steps": HORIZON})})
    _, following, left = window(short, calm(drone), sac.create(CONFIG.sac, jax.random.key(1)).actor)
    assert not left
    assert following.length == 0


def test_survival_falls_at_the_limits():
    values = [float(apg._survival(CONFIG, jnp.asarray(ratio))) for ratio in (0, 0.5, 1, 2, 1e30)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.9999
    assert values[2] == 0.5
    assert values[-1] == 0


def test_the_limit_ratio_passes_one_where_an_episode_ends(drone):
    drone = on_device(drone)
    states = jax.vmap(episode.start, in_axes=(None, 0))(drone, jax.random.split(jax.random.key(0), 500)).state
    states = states.replace(position=states.position * 4, angular_velocity=states.angular_velocity * 25)
    ratios = jax.vmap(limit_ratio, in_axes=(None, 0))(drone, states)
    ended = jax.vmap(terminated, in_axes=(None, 0))(drone, states)
    assert 0.1 < np.mean(ended) < 0.9
    np.testing.assert_array_equal(ratios > 1, ended)


@pytest.mark.parametrize(
    ("gradient", "expected"),
    [((3.0, 4.0), (3.0, 4.0)), ((30.0, 40.0), (6.0, 8.0)), ((np.nan, 1.0), (0.0, 0.0)), ((np.inf, 1.0), (0.0, 0.0))],
)
def test_the_gradient_that_flows_back_through_a_state_is_limited(gradient, expected):
    given = jnp.asarray(gradient)
    _, backward = jax.vjp(lambda x: apg._limit_gradient(10.0, {"x": x})["x"], jnp.zeros(2))
    np.testing.assert_allclose(backward(given)[0], expected, rtol=1e-6)


@pytest.mark.training
def test_teachers_learn_to_fly_from_random_weights_and_one_policy_learns_many_drones():
    config = Config.model_validate(
        {
            "training": {"start": "scratch", "steps_per_teacher": UPDATES * 8 * 200, "eval_episodes": 16},
        }
    )
    drones = on_device(stack(sampled_drones(4)))
    now = population.create(config, drones, jnp.arange(4))
    before = evaluation.evaluate(config, now.learners.actor, drones, 16, evaluation.JUDGEMENT)
    now, _ = population.train(config, now, drones, iterations=UPDATES)
    after = evaluation.evaluate(config, now.learners.actor, drones, 16, evaluation.JUDGEMENT)
    assert np.all(before.mean_return < -50)
    # Seen: 333, 29, 427, 355.
    assert np.all(after.mean_return > before.mean_return + 80)
    assert np.median(after.mean_return) > 250

    one = pooled.create(config, drones)
    one, _ = pooled.train(config, one, drones, iterations=UPDATES)
    actors = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), one.learner.actor)
    found = evaluation.evaluate(config, actors, drones, 16, evaluation.JUDGEMENT)
    assert np.median(found.mean_return) > np.median(before.mean_return) + 200, found.mean_return
