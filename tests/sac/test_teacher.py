"""One update of one teacher."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from raptor_jax import sac
from raptor_jax.config import SacConfig
from raptor_jax.simulator import ACTION_DIM, OBSERVATION_DIM
from tests.sac.networks import assert_moved, constant_actor, constant_critic, critic_values
from validation.drones import take

CONFIG = SacConfig(
    horizon=0, actor_hidden_dim=8, critic_hidden_dim=8, critic_batch_size=8, actor_batch_size=4, target_entropy=-2
)
NEGLIGIBLE_ALPHA = -50.0
"""Log of an alpha that removes the entropy term."""

update = jax.jit(sac.update, static_argnums=0, static_argnames="with_actor")


@pytest.fixture(scope="module")
def teacher() -> sac.Teacher:
    return sac.create(CONFIG, jax.random.key(0))


def drawn_batch(size: int) -> sac.Transition:
    """Returns a batch of which each second transition is terminated."""
    random = np.random.default_rng(0)
    columns = {
        "observation": random.normal(size=(size, OBSERVATION_DIM)),
        "action": random.uniform(-1, 1, (size, ACTION_DIM)),
        "reward": random.normal(size=size),
        "terminated": np.arange(size) % 2,
        "next_observation": random.normal(size=(size, OBSERVATION_DIM)),
    }
    return sac.Transition(**{name: jnp.asarray(column, jnp.float32) for name, column in columns.items()})


@pytest.fixture(scope="module")
def batch() -> sac.Transition:
    return drawn_batch(CONFIG.critic_batch_size)


@pytest.fixture(scope="module")
def after(teacher, batch) -> dict[bool, sac.Teacher]:
    """The teacher after one update without and with the actor."""
    key = jax.random.key(1)
    return {with_actor: update(CONFIG, teacher, batch, key, with_actor=with_actor)[0] for with_actor in (False, True)}


def assert_same(before, after) -> None:
    jax.tree.map(np.testing.assert_array_equal, before, after)


@pytest.mark.parametrize("with_actor", [False, True])
def test_critics_move_in_every_update_and_actor_and_alpha_with_actor_only(teacher, after, with_actor):
    for name in ("critic", "actor", "log_alpha", "critic_optimizer", "actor_optimizer", "alpha_optimizer"):
        check = assert_moved if with_actor or name.startswith("critic") else assert_same
        check(getattr(teacher, name), getattr(after[with_actor], name))
    counts = [getattr(after[with_actor], f"{name}_optimizer").count for name in ("critic", "actor", "alpha")]
    assert counts == [1, with_actor, with_actor]


def test_actor_does_not_change_the_critics_update(after):
    assert_same(after[False].critic, after[True].critic)


def test_target_moves_by_tau_towards_the_new_critic(teacher, batch):
    target = sac.create(CONFIG, jax.random.key(3)).critic
    after, _ = update(CONFIG, teacher.replace(target_critic=target), batch, jax.random.key(1), with_actor=True)
    expected = jax.tree.map(
        lambda new, old: CONFIG.tau * np.asarray(new) + (1 - CONFIG.tau) * np.asarray(old), after.critic, target
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), after.target_critic, expected)


@pytest.mark.parametrize("form", ["reference", "textbook"])
def test_critics_learn_the_smaller_target_value_and_nothing_after_termination(teacher, batch, form):
    config = CONFIG.model_copy(update={"soft_target": form})
    smaller, larger = 3.0, 5.0
    target_critic = constant_critic(config, (larger, smaller))
    prepared = teacher.replace(target_critic=target_critic, log_alpha=jnp.float32(NEGLIGIBLE_ALPHA))
    _, report = update(config, prepared, batch, jax.random.key(1), with_actor=False)
    target = np.asarray(batch.reward) + config.gamma * smaller * (1 - np.asarray(batch.terminated))
    values = critic_values(teacher.critic, np.asarray(batch.observation), np.asarray(batch.action))
    np.testing.assert_allclose(report.critic_loss, 0.5 * np.mean((values - target) ** 2, axis=1).sum(), rtol=1e-5)
    np.testing.assert_allclose(report.q_value, values.mean(), atol=1e-6)
    assert np.isnan(report.actor_loss)


def test_actor_sees_the_first_rows_only(teacher, batch):
    # Without a future the critic's target is the reward, so the order of the rows is nothing to it.
    config = CONFIG.model_copy(update={"gamma": 0.0, "soft_target": "textbook"})
    rows, head = np.arange(config.critic_batch_size), config.actor_batch_size
    tail_reversed, tail_first = np.concatenate([rows[:head], rows[head:][::-1]]), np.roll(rows, head)
    moments = []
    for order in (rows, tail_reversed, tail_first):
        after, _ = update(config, teacher, take(batch, order), jax.random.key(1), with_actor=True)
        moments.append(np.asarray(after.actor_optimizer.mu["params"]["mlp"]["output"]["bias"]))
    np.testing.assert_allclose(moments[0], moments[1], atol=1e-6)
    assert np.abs(moments[0] - moments[2]).max() > 1e-4


@pytest.mark.parametrize(("log_std", "direction"), [(-5.0, 1), (0.0, -1)])
def test_alpha_moves_towards_the_target_entropy(teacher, batch, log_std, direction):
    """A policy of log std -5 has an entropy of about -14, one of 0 about +2; the target is -2."""
    prepared = teacher.replace(actor=constant_actor(CONFIG, 0.0, log_std))
    after, report = update(CONFIG, prepared, batch, jax.random.key(1), with_actor=True)
    # Adam's first step has the length of the rate.
    expected = np.log(CONFIG.initial_alpha) + direction * CONFIG.alpha_learning_rate
    np.testing.assert_allclose(after.log_alpha, expected, atol=1e-3 * CONFIG.alpha_learning_rate)
    np.testing.assert_allclose(report.alpha, np.exp(expected), rtol=1e-5)


def test_repeated_updates_on_rewards_without_a_future_fit_them(teacher, batch):
    config = CONFIG.model_copy(update={"gamma": 0.0, "soft_target": "textbook", "critic_learning_rate": 1e-2})
    fitted = teacher
    for key in jax.random.split(jax.random.key(2), 500):
        fitted, report = update(config, fitted, batch, key, with_actor=False)
    assert report.critic_loss < 1e-2 * np.var(batch.reward)


@pytest.mark.parametrize("precision", ["tensorfloat32", "bfloat16"])
def test_an_update_of_the_usual_size_runs_in_every_precision(precision):
    config = SacConfig(horizon=0, matmul_precision=precision)
    exact = config.model_copy(update={"matmul_precision": "float32"})
    teacher, batch = sac.create(config, jax.random.key(0)), drawn_batch(config.critic_batch_size)
    found, expected = (
        float(update(each, teacher, batch, jax.random.key(1), with_actor=True)[1].critic_loss)
        for each in (config, exact)
    )
    assert found == pytest.approx(expected, rel=0.02)
    assert found != expected
