"""Reward and termination, compared with values computed by hand."""

import numpy as np
import pytest

from raptor_jax import simulator
from raptor_jax.drones.parameters import Drone
from raptor_jax.simulator import State, Target
from validation.drones import at_rest, on_device, replaced, sampled_drones

ACTION = np.array([0.5, -0.5, 0.0, 1.0])

COSTS = {
    "position": 3.0,  # |(2, 3, 6) - (0, 1, 5)| = |(2, 2, 1)|
    "orientation": 2 * np.pi / 3,  # 2 acos(1 - 1/2)
    "linear_velocity": 7.0,  # |(2, 4, 6) - (0, 1, 0)| = |(2, 3, 6)|
    "angular_velocity": 9.0,  # |(1, 4, 8)|
    "linear_acceleration": 300.0,  # |(1, 2, 2)| / 0.01
    "angular_acceleration": 1500.0,  # |(2, 5, 14)| / 0.01
    "action": 0.875,  # |(0.75, 0.25, 0.5, 1) - 0.25|^2, not its root
    "d_action": 1.0,  # |(0.5, -0.5, 0, 1) - (0, 0, -0.5, 0.5)|
}
WEIGHTS = {name: 0.1 * (i + 1) for i, name in enumerate(COSTS)}

NOW = at_rest(
    position=np.array([2.0, 3.0, 6.0]),
    orientation=np.array([0.5, 0.5, 0.5, -0.5]),
    linear_velocity=np.array([2.0, 4.0, 6.0]),
    angular_velocity=np.array([1.0, 4.0, 8.0]),
    last_action=np.array([0.0, 0.0, -0.5, 0.5]),
    observed_action=np.full(4, 9.0),
    target=Target(np.array(True), np.array([0.0, 1, 5]), np.array([0.0, 1, 0]), *np.full((2, 3), 9.0)),
)
NEXT = NOW.replace(linear_velocity=np.array([3.0, 6.0, 8.0]), angular_velocity=np.array([3.0, 9.0, 22.0]))
OUTSIDE = NOW.replace(position=np.array([0.0, 0.0, -6.6]))


def weighted(drone: Drone, **weights: float) -> Drone:
    return replaced(drone, **{f"mdp__reward__{name}": value for name, value in weights.items()})


@pytest.fixture(scope="module")
def drone() -> Drone:
    limited = replaced(
        sampled_drones(1)[0],
        dynamics__hovering_throttle_relative=0.25,
        mdp__termination__position_threshold=6.5,
        mdp__termination__linear_velocity_threshold=8.5,
        mdp__termination__angular_velocity_threshold=22.5,
    )
    return weighted(limited, **dict.fromkeys(COSTS, 0.0), scale=0.5, constant=2.0, termination_penalty=-7.0)


def reward(drone: Drone, now: State = NOW, then: State = NEXT) -> float:
    return float(simulator.reward(*on_device((drone, now, ACTION, then))))


def terminated(drone: Drone, state: State) -> bool:
    return bool(simulator.terminated(*on_device((drone, state))))


@pytest.mark.parametrize("weights", [*({name: 0.3} for name in COSTS), WEIGHTS], ids=[*COSTS, "all"])
def test_the_costs_are_weighted_and_added(drone, weights):
    cost = sum(weight * COSTS[name] for name, weight in weights.items())
    assert reward(weighted(drone, **weights)) == pytest.approx(2 - 0.5 * cost, rel=1e-6)


@pytest.mark.parametrize(("clip", "distance"), [(0.0, 3.0), (-1.0, 3.0), (2.5, 2.5), (3.5, 3.0)])
def test_position_clip_holds_above_zero_only(drone, clip, distance):
    clipped = weighted(drone, position=1.0, position_clip=clip)
    assert reward(clipped) == pytest.approx(2 - 0.5 * distance, rel=1e-6)


@pytest.mark.parametrize(("weight", "clips", "expected"), [(1.0, True, 0.5), (2.0, True, 0.0), (2.0, False, -1.0)])
def test_only_non_negative_clips_at_zero(drone, weight, clips, expected):
    costly = weighted(drone, position=weight, non_negative=clips)
    assert reward(costly) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_termination_penalty_replaces_the_reward_unscaled_and_unclipped(drone):
    assert reward(weighted(drone, **WEIGHTS, non_negative=True), then=OUTSIDE) == -7.0


def test_termination_depends_only_on_the_next_state(drone):
    assert reward(drone, now=OUTSIDE) == 2.0


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize(("group", "limit"), [("position", 6.5), ("linear_velocity", 8.5), ("angular_velocity", 22.5)])
def test_termination_is_strict_and_applies_to_each_component(drone, group, limit, axis, sign):
    edge = np.zeros(3)
    edge[axis] = sign * limit
    beyond = np.nextafter(np.float32(edge), np.float32(2 * edge))
    assert not terminated(drone, NOW.replace(**{group: edge}))
    assert terminated(drone, NOW.replace(**{group: beyond}))


def test_termination_can_be_off(drone):
    off = replaced(drone, mdp__termination__enabled=False)
    assert not terminated(off, NOW.replace(position=np.full(3, 1e4)))


def test_target_moves_the_cost_but_not_the_limits(drone):
    chasing = NOW.replace(target=NOW.target.replace(position=np.array([0.0, 0, 100])))
    assert not terminated(drone, chasing)
    assert reward(weighted(drone, position=1.0), now=chasing) < -40
