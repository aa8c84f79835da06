"""Flights whose outcome is known, and the same flights by a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from raptor_jax import evaluation, sac, simulator
from raptor_jax.config import Config
from raptor_jax.drones.parameters import Drone, stack
from raptor_jax.evaluation import FINAL, SELECTION, Evaluation, flights
from raptor_jax.evaluation.foundation import FoundationPolicy
from raptor_jax.population import sac as population
from raptor_jax.simulator import episode
from raptor_jax.simulator.episode import Outcome
from tests.evaluation.known import EPISODES, STEPS, falling, hovering, hovering_action
from tests.sac.networks import actor_output, constant_actor
from validation.drones import calm, on_device, sampled_drones, take

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unoptimized_module")]


@pytest.fixture(scope="module")
def actors(config, drones) -> sac.Parameters:
    return population.create(config, drones, jnp.arange(3)).teachers.actor


@pytest.fixture(scope="module")
def found(config, actors, drones) -> Evaluation:
    return evaluation.evaluate(config, actors, drones, EPISODES, SELECTION)


def evaluate_copies(config: Config, drone: Drone, actors: list[sac.Parameters]) -> Evaluation:
    """Evaluates three actors, each on a copy of one drone."""
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *actors)
    return evaluation.evaluate(config, stacked, on_device(stack([drone] * 3)), EPISODES, SELECTION)


def evaluate_constant(config: Config, drone: Drone, mean: float) -> Evaluation:
    """Evaluates an actor with the action tanh(mean) on a drone."""
    result = evaluate_copies(config, drone, [constant_actor(config.sac, mean, 1.0)] * 3)
    return jax.tree.map(lambda leaf: float(leaf[0]), result)


def test_streams_and_seeds_draw_different_starts(config, actors, drones, found):
    other_seed = config.model_copy(update={"training": config.training.model_copy(update={"seed": 1})})
    for settings, stream in ((config, FINAL), (other_seed, SELECTION)):
        other = evaluation.evaluate(settings, actors, drones, EPISODES, stream)
        assert np.all(other.mean_return != found.mean_return)


def test_a_teacher_alone_is_the_same_as_among_others(config, actors, drones, found):
    alone = evaluation.evaluate(config, take(actors, [1]), take(drones, [1]), EPISODES, SELECTION)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b[1:2], rtol=1e-3, atol=1e-4), alone, found)


def test_log_std_does_not_matter(config):
    actors = [constant_actor(config.sac, 0.1, log_std) for log_std in (-3.0, 0.0, 1.0)]
    result = evaluate_copies(config, sampled_drones(1)[0], actors)
    np.testing.assert_array_equal(result.mean_return, np.full(3, result.mean_return[0]))


def test_a_hovering_actor_flies_the_whole_episode_and_pays_only_for_its_first_action(config):
    drone = hovering(sampled_drones(1)[0])
    action, reward = hovering_action(drone), drone.mdp.reward
    result = evaluate_constant(config, drone, np.arctanh(action))
    # The action before the first is 0 for the reward; the norm is over four rotors.
    expected = STEPS * reward.constant - reward.scale * reward.d_action * 2 * abs(action)
    assert result.mean_return == pytest.approx(expected, abs=1e-2)
    assert (result.std_return, result.final_position_error) == pytest.approx((0, 0), abs=1e-3)
    assert (result.episode_length, result.share_terminated) == (STEPS, 0)


@pytest.mark.parametrize("steps", [1, 11, STEPS, STEPS + 1])
def test_an_episode_ends_with_the_step_that_terminates(config, steps):
    """Of a drone that falls out of its box: the last reward is the penalty, and the position is that of the end."""
    gravity, dt = 9.81, 0.01
    drone = falling(sampled_drones(1)[0], limit=0.5 * gravity * ((steps - 0.5) * dt) ** 2)
    result = evaluate_constant(config, drone, 0.0)
    length, terminated, reward = min(steps, STEPS), steps <= STEPS, drone.mdp.reward
    last = reward.termination_penalty if terminated else reward.constant
    assert result.mean_return == pytest.approx(float((length - 1) * reward.constant + last), rel=1e-5)
    assert (result.episode_length, result.share_terminated) == (length, terminated)
    assert result.final_position_error == pytest.approx(0.5 * gravity * (length * dt) ** 2, rel=1e-4)


one_step = jax.jit(simulator.step)


def test_equals_a_plain_loop_over_the_simulator(config, actors, drones, found):
    """The task is free of noise, so that only the starts depend on keys."""
    position = 2
    drone, actor = take(drones, position), take(actors, position)
    reward, terminated = jax.jit(simulator.reward), jax.jit(simulator.terminated)
    returns, lengths, crashes, errors, late_positions, late_headings = [], [], [], [], [], []
    for episode_key in flights.episode_keys(config, EPISODES, SELECTION):
        state = episode.start(drone, jax.random.split(episode_key)[0]).state
        total, length, crashed = 0.0, 0, False
        while length < STEPS and not crashed:
            observation = np.asarray(simulator.observe(drone, state, None))
            mean, _ = actor_output(actor, observation)
            action = jnp.asarray(np.tanh(mean), jnp.float32)
            following = one_step(drone, state, action, simulator.Noise())
            total += float(reward(drone, state, action, following))
            crashed = bool(terminated(drone, following))
            state, length = following, length + 1
            if length > STEPS / 2:
                late_positions.append(state.position - state.target.position)
                late_headings.append(Rotation.from_quat(state.orientation, scalar_first=True).apply([1, 0, 0]))
        returns.append(total)
        lengths.append(length)
        crashes.append(crashed)
        errors.append(np.linalg.norm(state.position - state.target.position))
    north, west, _ = np.mean(late_headings, axis=0)
    offsets = np.linalg.norm(np.mean(late_positions, axis=0)), np.abs(np.arctan2(west, north))
    plain = Evaluation(np.mean(returns), np.std(returns), np.mean(lengths), np.mean(crashes), np.mean(errors), *offsets)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[position], b, rtol=1e-3, atol=1e-3), found, plain)


def test_the_yaw_offset_of_headings_around_the_opposite_direction_is_pi(drones):
    def backwards(angle):
        drone = calm(take(drones, 0))
        flight = flights.reset(drone, jax.random.key(0))
        orientation = jnp.array([np.cos(angle / 2), 0, 0, np.sin(angle / 2)])
        state = flight.episode.state.replace(orientation=orientation)
        outcome = Outcome(0.0, False, False, flight.episode.replace(state=state, length=2))
        return flights.accumulate(Config.model_validate({"environment": {"episode_steps": 2}}), flight, outcome)

    both = jax.tree.map(lambda *leaves: jnp.stack(leaves)[None], backwards(3.1), backwards(-3.1))
    np.testing.assert_allclose(flights.summary(both).yaw_offset, [np.pi], atol=1e-5)


def test_the_first_rollout_is_the_first_evaluated_episode(config, actors, drones):
    flight, steps = evaluation.roll_out_first(config, actors, drones, EPISODES, FINAL)
    # The first of three episodes has the key that a single one has.
    judged = evaluation.evaluate(config, actors, drones, 1, FINAL)
    np.testing.assert_allclose(flight.episode.total_reward, judged.mean_return, rtol=1e-5)
    np.testing.assert_allclose(steps.reward.sum(axis=1), judged.mean_return, rtol=1e-4)
    np.testing.assert_array_equal(flight.episode.length, judged.episode_length)
    np.testing.assert_array_equal(flight.terminated, judged.share_terminated)
    key = jax.random.split(flights.episode_keys(config, EPISODES, FINAL)[0])[0]
    for position in range(3):
        drone = take(drones, position)
        replay = episode.start(drone, key).state
        for step in range(int(flight.episode.length[position])):
            found = steps.state.position[position, step], steps.state.orientation[position, step]
            np.testing.assert_allclose(found[0], replay.position, rtol=1e-3, atol=1e-4)
            np.testing.assert_allclose(found[1], replay.orientation, rtol=1e-3, atol=1e-4)
            replay = one_step(drone, replay, steps.action[position, step], simulator.Noise())


class OutsideActor:
    """The actor of one teacher as a policy outside of JAX that receives only observations."""

    def __init__(self, config: Config, actor: sac.Parameters):
        self.steps = 0
        self._act = jax.jit(lambda observation: sac.deterministic_action(config.sac, actor, observation))

    def reset(self) -> None:
        self.steps = 0

    def evaluate_step(self, observation: np.ndarray) -> np.ndarray:
        self.steps += 1
        return np.asarray(self._act(observation))


def test_a_policy_outside_of_jax_flies_the_same_episodes(config, actors, drones):
    one = take(actors, 1)
    everywhere = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), one)
    inside = evaluation.evaluate(config, everywhere, drones, EPISODES, FINAL)
    policy = OutsideActor(config, one)
    outside = evaluation.evaluate_policy(config, policy, drones, EPISODES, FINAL)
    assert policy.steps == STEPS
    for name, values in vars(inside).items():
        np.testing.assert_allclose(getattr(outside, name), values, rtol=1e-4, atol=1e-4, err_msg=name)


def test_the_foundation_policy_flies_an_ordinary_drone(config):
    drone = hovering(sampled_drones(1)[0])
    found = evaluation.evaluate_policy(config, FoundationPolicy(), on_device(stack([drone])), EPISODES, FINAL)
    assert (found.episode_length, found.share_terminated) == (STEPS, 0)
    # The best that any policy can have is 1 a step.
    assert STEPS / 2 < found.mean_return < STEPS
