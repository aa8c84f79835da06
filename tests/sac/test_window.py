"""The objective of a window: its value, its gradient, and its behaviour at terminations, which have no gradient."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import sac
from raptor_jax.config import Config, build
from raptor_jax.sac import rollout, window
from raptor_jax.sac.window import Value
from raptor_jax.simulator import ACTION_DIM, Noise, episode, limit_ratio, terminated
from tests.sac.gradients import projected_gradients
from tests.sac.networks import constant_critic
from validation.drones import calm, on_device, replaced, sampled_drones
from validation.parity.transitions import double_precision

pytestmark = pytest.mark.slow

HORIZON = 6
ALPHA = 0.3
CONFIG = Config.model_validate(
    {
        "environment": {"episode_steps": 50},
        "sac": {"actor_hidden_dim": 8, "critic_hidden_dim": 8, "horizon": HORIZON, "state_gradient_limit": 1e9},
    }
)


@pytest.fixture(scope="module")
def drone():
    return sampled_drones(1)[0]


@pytest.fixture(scope="module")
def wide(drone):
    """The same drone far from any limit, and never starting in hover."""
    names = ("position", "linear_velocity", "angular_velocity")
    return replaced(drone, mdp__init__guidance=0.0, **{f"mdp__termination__{name}_threshold": 1e4 for name in names})


@pytest.fixture(scope="module")
def teacher():
    return sac.create(CONFIG.sac, jax.random.key(1))


def at_horizon(horizon, **settings):
    return build(CONFIG.model_dump(), {"sac.horizon": horizon, **settings}, "test")


def flown(config, drone, teacher, critic=None, alpha=ALPHA):
    """Returns what one window from a fresh episode is worth, the episode after it, and the window."""
    drone = on_device(drone)
    future = Value(teacher.actor, teacher.target_critic if critic is None else critic, jnp.float32(alpha))
    start = episode.start(drone, jax.random.key(3))
    worth, (following, seen) = window.fly(config, teacher.actor, future, drone, start, jax.random.key(0))
    return float(worth), following, seen


@pytest.mark.parametrize("horizon", [1, HORIZON])
def test_the_objective_is_the_discounted_soft_reward_and_the_value_after_it(wide, teacher, horizon):
    config = at_horizon(horizon)
    worth, following, seen = flown(config, wide, teacher, constant_critic(config.sac, (0.5, 0.7)))
    discounts = config.sac.gamma ** np.arange(horizon)
    expected = np.sum(discounts * (seen.steps.reward - ALPHA * seen.steps.log_probability))
    # The smaller critic, in units of reward.
    value = 0.5 / (1 - config.sac.gamma) - ALPHA * seen.last_log_probability
    assert worth == pytest.approx(float(expected + config.sac.gamma**horizon * value), rel=1e-4)
    assert following.length == horizon
    assert not np.any(seen.steps.terminated)


def test_the_steps_are_those_of_the_simulator_with_sampled_actions(wide, teacher):
    _, following, seen = flown(CONFIG, wide, teacher)
    now = episode.start(on_device(wide), jax.random.key(3))
    for step in range(HORIZON):
        np.testing.assert_allclose(seen.steps.observation[step], now.observation, atol=1e-5)
        outcome = episode.advance(on_device(wide), now, seen.steps.action[step], 50, Noise())
        assert float(seen.steps.reward[step]) == pytest.approx(float(outcome.reward), abs=1e-5)
        now = outcome.episode
    np.testing.assert_allclose(following.state.position, now.state.position, atol=1e-6)
    spread = np.std(np.arctanh(np.clip(seen.steps.action, -0.999, 0.999)))
    assert spread > 0.1, "an untrained policy has a standard deviation of about 1"


def test_the_critics_see_the_force_as_a_share_of_the_weight_and_the_torque_as_an_acceleration(drone):
    state = episode.start(on_device(drone), jax.random.key(3)).state
    seen = window.disturbance(on_device(drone), state)
    weight = float(drone.dynamics.mass * np.linalg.norm(drone.dynamics.gravity))
    np.testing.assert_allclose(seen[:3], state.force / weight, rtol=1e-5)
    np.testing.assert_allclose(seen[3:], np.linalg.inv(drone.dynamics.J) @ state.torque / 10, rtol=1e-4)


@pytest.mark.parametrize("horizon", [1, 5])
def test_the_gradient_of_the_objective_is_that_of_finite_differences(drone, horizon):
    config = at_horizon(horizon)
    # Double precision: the differences of single precision are noise.
    with double_precision():
        double, teacher = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64), (calm(drone), sac.create(config.sac, jax.random.key(1)))
        )
        start = episode.start(double, jax.random.key(3))
        future = Value(teacher.actor, teacher.target_critic, jnp.asarray(ALPHA))
        mlp = teacher.actor["params"]["mlp"]

        def worth(bias, start):
            actor = {"params": {"mlp": {**mlp, "output": {**mlp["output"], "bias": bias}}}}
            return window.fly(config, actor, future, double, start, jax.random.key(0))[0]

        # The episode is an argument: XLA:CPU (jax 0.10.2) aborts on a `kept_together` call of constants alone.
        compiled, bias = jax.jit(worth), mlp["output"]["bias"]
        gradient = np.asarray(jax.grad(worth)(bias, start))
        for entry in range(2 * ACTION_DIM):
            small = jnp.zeros_like(bias).at[entry].set(1e-6)
            difference = (compiled(bias + small, start) - compiled(bias - small, start)) / 2e-6
            assert gradient[entry] == pytest.approx(float(difference), rel=1e-4, abs=1e-7)
    assert np.all(gradient != 0), "mean and standard deviation both count"


def test_the_gradient_is_that_of_the_simulator_on_arrays():
    recorded = np.load(Path(__file__).parent / "gradients.npz")["gradients"]
    np.testing.assert_allclose(projected_gradients(), recorded, rtol=1e-9, atol=1e-9 * np.abs(recorded).max())


def test_a_termination_costs_the_penalty_once_and_has_no_value_after_it(drone, teacher):
    # From the first step on far beyond the limits, relative to those at the start.
    fast = replaced(drone, mdp__init__max_linear_velocity=0.0, mdp__init__max_position=0.0, mdp__init__guidance=0.0)
    tight = replaced(fast, mdp__termination__linear_velocity_threshold=1e-3)
    worth, following, seen = flown(CONFIG, tight, teacher, constant_critic(CONFIG.sac, (50.0, 50.0)), alpha=0.0)
    assert seen.steps.terminated[0]
    assert worth == pytest.approx(CONFIG.sac.termination_penalty, rel=1e-2)
    # What is reported has the task's own penalty.
    assert seen.steps.reward[0] == drone.mdp.reward.termination_penalty == -100
    assert following.length == 0


def test_a_window_that_starts_near_a_limit_has_the_usual_weight(wide, teacher):
    start = episode.start(on_device(wide), jax.random.key(3))
    near = replaced(wide, mdp__termination__position_threshold=float(jnp.abs(start.state.position).max()) * 1.05)
    assert rollout.survival(CONFIG, limit_ratio(on_device(near), start.state)) < 0.65
    mild = at_horizon(1, **{"sac.termination_penalty": -100.0})
    far, close = (flown(mild, drone, teacher, alpha=0.0)[0] for drone in (wide, near))
    assert close == pytest.approx(far, rel=0.2)


def test_an_episode_ends_with_the_window_in_which_it_reaches_its_length(drone, teacher):
    short = build(CONFIG.model_dump(), {"environment.episode_steps": HORIZON}, "test")
    _, following, seen = flown(short, calm(drone), teacher)
    assert not np.any(seen.steps.terminated)
    assert following.length == 0


def test_survival_falls_at_the_limits():
    values = [float(rollout.survival(CONFIG, jnp.asarray(ratio))) for ratio in (0, 0.5, 1, 2, 1e30)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.9999
    assert values[2] == 0.5
    assert values[-1] == 0


def test_the_limit_ratio_passes_one_where_an_episode_ends(drone):
    drone = on_device(drone)
    states = jax.vmap(episode.start, in_axes=(None, 0))(drone, jax.random.split(jax.random.key(0), 500)).state
    states = states.replace(position=states.position * 20, angular_velocity=states.angular_velocity * 25)
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
    _, backward = jax.vjp(lambda x: rollout._limit_gradient(10.0, x), jnp.zeros(2))
    np.testing.assert_allclose(backward(given)[0], expected, rtol=1e-6)
