"""Networks by hand: forward passes in NumPy, and weights whose output is known."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from raptor_jax import sac
from raptor_jax.config import SacConfig
from raptor_jax.simulator import ACTION_DIM


def mlp(weights: dict[str, Any], inputs: np.ndarray) -> np.ndarray:
    """Returns the output [B, ...] of one network at inputs [B, ...], in float64."""
    hidden = np.asarray(inputs, np.float64)
    for layer in ("hidden_0", "hidden_1"):
        hidden = np.maximum(_dense(weights[layer], hidden), 0)
    return _dense(weights["output"], hidden)


def actor_output(actor: sac.Parameters, observation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean and the unclipped log standard deviation, [B, 4] each."""
    mean, log_std = np.split(mlp(actor["params"]["mlp"], observation), 2, axis=-1)
    return mean, log_std


def critic_values(critic: sac.Parameters, observation: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Returns the values of both critics, [2, B]."""
    inputs = np.concatenate([observation, action], axis=-1)
    twins = [jax.tree.map(lambda leaf, i=i: leaf[i], critic["params"]["mlp"]) for i in range(2)]
    return np.stack([mlp(twin, inputs)[..., 0] for twin in twins])


def constant_actor(config: SacConfig, mean: float, log_std: float) -> sac.Parameters:
    """Returns an actor whose output, before squashing, does not depend on the observation."""
    actor = sac.create(config, jax.random.key(0)).actor
    return _with_constant_output(actor, np.repeat([mean, log_std], ACTION_DIM))


def constant_critic(config: SacConfig, values: tuple[float, float]) -> sac.Parameters:
    """Returns twin critics with these two values everywhere."""
    critic = sac.create(config, jax.random.key(0)).critic
    return _with_constant_output(critic, np.array(values)[:, None])


def assert_moved(before: Any, after: Any) -> None:
    """Checks that every array of a tree has changed."""
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        assert np.any(np.asarray(old) != np.asarray(new))


def _dense(layer: dict[str, Any], inputs: np.ndarray) -> np.ndarray:
    return inputs @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)


def _with_constant_output(network: sac.Parameters, bias: np.ndarray) -> sac.Parameters:
    zeros = jax.tree.map(jnp.zeros_like, network)
    output = zeros["params"]["mlp"]["output"] | {"bias": jnp.asarray(bias, jnp.float32)}
    return {"params": {"mlp": zeros["params"]["mlp"] | {"output": output}}}
