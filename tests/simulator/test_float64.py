"""The simulator in float64 against the independent NumPy reference: formulas without rounding."""

from functools import partial

import jax
import numpy as np
import pytest

from raptor_jax.simulator import Target
from raptor_jax.simulator.target import advance
from validation.drones import on_device, reference_drones, sampled_drones
from validation.parity import reference_numpy, transitions
from validation.parity.comparison import broken, float64


@pytest.mark.parametrize(
    "drones",
    [
        pytest.param(lambda: sampled_drones(8), id="sampled"),
        pytest.param(reference_drones, id="reference", marks=pytest.mark.reference),
    ],
)
def test_step_observation_reward_and_flight(drones):
    assert broken(float64(drones())) == []


def test_target_with_the_same_draws():
    random = np.random.default_rng(0)
    trajectory = sampled_drones(1)[0].trajectory
    dt = np.array(0.01)
    draws = random.normal(0, 1, (300, 3))
    state = random.normal(0, 0.3, (4, 3))
    expected = [Target(np.array(True), *state)]
    for draw in draws:
        expected.append(reference_numpy.advance_target(trajectory.langevin, expected[-1], dt, draw))
    with transitions.double_precision():
        move = jax.jit(advance)
        target = on_device(expected[0])
        for draw, then in zip(draws, expected[1:], strict=True):
            target = move(*on_device((trajectory, target, dt, draw)))
            jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-13), target, then)
