"""The law of every field of an initial state, and of the target's motion after it."""

import jax
import numpy as np
import pytest
from scipy import stats

from raptor_jax.drones.parameters import Drone
from raptor_jax.simulator import State
from raptor_jax.simulator.target import advance
from validation.drones import on_device, replaced, sampled_drones
from validation.parity.transitions import draw_initial_states

COUNT = 20_000
LEAST_P_VALUE = 1e-3


def draw(drone: Drone) -> State:
    return draw_initial_states(drone, COUNT, seed=0)


@pytest.fixture(scope="module")
def drone() -> Drone:
    return replaced(
        sampled_drones(1, "raptor")[0],
        mdp__init__guidance=0.25,
        mdp__init__max_angle=1.3,
        mdp__init__max_linear_velocity=2.0,
        mdp__init__max_angular_velocity=3.0,
        mdp__init__min_rpm=-0.5,
        mdp__init__max_rpm=0.2,
        dynamics__action_limit__min=0.1,
        dynamics__action_limit__max=0.9,
        disturbances__random_force__mean=0.2,
        disturbances__random_force__std=0.5,
        disturbances__random_torque__mean=-0.1,
        disturbances__random_torque__std=0.3,
        trajectory__mixture=[0.3, 0.7],
    )


@pytest.fixture(scope="module")
def state(drone) -> State:
    return draw(drone)


@pytest.fixture(scope="module")
def hover(state) -> np.ndarray:
    return np.all(state.position == 0, axis=1)


def assert_independent(samples: np.ndarray) -> None:
    """Checks that no two columns of samples [B, N] are correlated."""
    correlations = np.corrcoef(samples.T)[~np.eye(samples.shape[1], dtype=bool)]
    assert np.abs(correlations).max() < 5 / np.sqrt(len(samples))


def assert_law(samples: np.ndarray, law) -> None:
    """Checks each column of samples [B] or [B, N] against a distribution, and that columns are independent."""
    for column in samples.reshape(len(samples), -1).T:
        assert stats.kstest(column.astype(np.float64), law.cdf).pvalue > LEAST_P_VALUE
    if samples.ndim > 1:
        assert_independent(samples)


def uniform(low: float, high: float):
    return stats.uniform(low, high - low)


def test_guidance_is_the_share_of_hover_starts(hover):
    assert stats.binomtest(int(hover.sum()), COUNT, 0.25).pvalue > LEAST_P_VALUE


def test_hover_starts_are_level_and_at_rest(state, hover):
    np.testing.assert_array_equal(state.orientation[hover], np.tile([1, 0, 0, 0], (hover.sum(), 1)))
    assert not state.linear_velocity[hover].any()
    assert not state.angular_velocity[hover].any()


def test_position_and_velocities_are_uniform_in_their_boxes(drone, state, hover):
    limit = drone.mdp.init.max_position
    assert_law(state.position[~hover], uniform(-limit, limit))
    assert_law(state.linear_velocity[~hover], uniform(-2, 2))
    assert_law(state.angular_velocity[~hover], uniform(-3, 3))


def test_orientation_has_a_uniform_axis_and_an_angle_up_to_max_angle(state, hover):
    vector = state.orientation[~hover, 1:].astype(np.float64)
    half_sine = np.linalg.norm(vector, axis=1)
    assert_law(2 * np.arctan2(half_sine, state.orientation[~hover, 0]), uniform(0, 1.3))
    # Archimedes: each coordinate of a uniform point on the sphere is uniform in [-1, 1].
    assert_law(vector / half_sine[:, None], uniform(-1, 1))
    np.testing.assert_allclose(np.linalg.norm(state.orientation, axis=1), 1, rtol=0, atol=3e-7)


def test_relative_rotor_range_is_in_the_action_limits_in_hover_too(state, hover):
    low, high = 0.1 + 0.8 * 0.25, 0.1 + 0.8 * 0.6
    assert_law(state.rotor_state[hover], uniform(low, high))
    assert_law(state.rotor_state[~hover], uniform(low, high))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.2, 0.7, (0.2, 0.7)), (-1, -1, (0.1, 0.9)), (0.5, 2, (0.5, 0.9)), (0.8, 0.4, (0.4, 0.4))],
)
def test_absolute_rotor_range(drone, low, high, expected):
    absolute = replaced(drone, mdp__init__relative_rpm=False, mdp__init__min_rpm=low, mdp__init__max_rpm=high)
    rotors = draw(absolute).rotor_state
    if expected[0] == expected[1]:
        np.testing.assert_allclose(rotors, expected[0], rtol=1e-6)
    else:
        assert_law(rotors, uniform(*expected))


def test_disturbances_are_normal_in_hover_too_with_a_hundredth_of_the_torque_about_yaw(state, hover):
    for rows in (hover, ~hover):
        assert_law(state.force[rows], stats.norm(0.2, 0.5))
        assert_law(state.torque[rows, :2], stats.norm(-0.1, 0.3))
        assert_law(state.torque[rows, 2], stats.norm(-0.1, 0.003))


def test_previous_action_is_zero_for_the_reward_and_the_rotor_state_for_the_observation(state):
    assert not state.last_action.any()
    np.testing.assert_allclose(state.observed_action, (state.rotor_state - 0.1) / 0.8 * 2 - 1, rtol=0, atol=1e-6)


def test_fields_are_independent(state, hover):
    motion = (state.position, state.orientation, state.linear_velocity, state.angular_velocity, state.rotor_state)
    assert_independent(np.concatenate([field[~hover] for field in (*motion, state.force, state.torque)], axis=1))


def test_share_of_moving_targets_is_the_mixtures(state, hover):
    assert stats.binomtest(int(state.target.moving.sum()), COUNT, 0.7).pvalue > LEAST_P_VALUE
    assert abs(np.corrcoef(state.target.moving, hover)[0, 1]) < 5 / np.sqrt(COUNT)


@pytest.mark.parametrize(("mixture", "moving"), [([1, 0], False), ([0, 1], True)])
def test_pure_mixtures(drone, mixture, moving):
    assert np.all(draw(replaced(drone, trajectory__mixture=mixture)).target.moving == moving)


def test_targets_start_at_the_origin_at_rest(state):
    assert not any(np.any(field) for field in jax.tree.leaves(state.target.replace(moving=False)))


def test_hovering_target_stays_and_moving_target_has_the_moments_of_its_process(drone, state):
    """The raw process is linear, so its covariance after n steps follows from its matrix A: P' = A P A^T + Q."""
    steps, dt = 200, 0.01
    langevin = drone.trajectory.langevin
    many = jax.jit(jax.vmap(advance, in_axes=(None, 0, None, 0)))
    trajectory, target = on_device((drone.trajectory, state.target))
    for draw_now in jax.random.normal(jax.random.key(1), (steps, COUNT, 3)):
        target = many(trajectory, target, dt, draw_now)

    friction, stiffness = langevin.gamma * dt, langevin.omega**2 * dt
    velocity_row = np.array([-stiffness, 1 - friction, 0, 0])
    smooth_row = langevin.alpha * velocity_row + np.array([0, 0, 0, 1 - langevin.alpha])
    advance_row = np.array([1, 0, 0, 0]) + dt * velocity_row
    matrix = np.stack([advance_row, velocity_row, np.array([0, 0, 1, 0]) + dt * smooth_row, smooth_row])
    push = langevin.sigma * np.sqrt(dt) * np.array([dt, 1, dt * langevin.alpha, langevin.alpha])
    covariance = np.zeros((4, 4))
    for _ in range(steps):
        covariance = matrix @ covariance @ matrix.T + np.outer(push, push)

    moving = state.target.moving
    fields = np.stack([target.raw_position, target.raw_velocity, target.position, target.velocity])
    measured = np.cov(fields[:, moving].reshape(4, -1))
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(measured / scale, covariance / scale, rtol=0, atol=5 * np.sqrt(2 / (3 * moving.sum())))
    assert not fields[:, ~moving].any()
