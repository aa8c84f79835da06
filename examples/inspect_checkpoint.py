# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From a checkpoint to a flight
#
# Opens the Orbax checkpoint of a run, rebuilds the actor of one teacher from its arrays, flies it on its drone, and
# plots the flight. Paths are seen from this directory, `examples`. The notebook is made from the script:
# `jupytext --to ipynb inspect_checkpoint.py`.

# %%
RUN = "../experiments/pre_training"
TEACHER = 0

# %% [markdown]
# ## The checkpoint
#
# Orbax alone opens it. Every array has a leading teacher axis.

# %%
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import orbax.checkpoint as ocp

import raptor_jax

run = Path(RUN).resolve()
newest = max((run / "checkpoints" / "best").glob("[0-9]*"), key=lambda path: int(path.name))
with ocp.StandardCheckpointer() as checkpointer:
    checkpoint = checkpointer.restore(newest / "default")

row = checkpoint["teacher_id"].tolist().index(TEACHER)
print(f"step {newest.name}, {len(checkpoint['teacher_id'])} teachers")
print(f"teacher {TEACHER}: mean return {checkpoint['mean_return'][row]:.1f}, alpha {checkpoint['alpha'][row]:.2g}")
for path, leaf in jax.tree.leaves_with_path(checkpoint["actor"]):
    print(jax.tree_util.keystr(path), leaf.shape, leaf.dtype)

# %% [markdown]
# ## The actor
#
# A ReLU network. The first four outputs are the mean action before `tanh`; the others are the log standard deviation,
# which a deterministic flight does not need.

# %%
layers = {
    name: {kind: jnp.asarray(values[row]) for kind, values in layer.items()}
    for name, layer in checkpoint["actor"].items()
}


def actor(observation):
    """Returns the action [4] at an observation [26]."""
    values = observation
    for name in ("hidden_0", "hidden_1"):
        values = jax.nn.relu(values @ layers[name]["kernel"] + layers[name]["bias"])
    output = values @ layers["output"]["kernel"] + layers["output"]["bias"]
    return jnp.tanh(output[:4])


observation = np.random.default_rng(0).normal(size=26).astype(np.float32)
teacher = raptor_jax.load_teacher(run, TEACHER)
difference = np.abs(actor(observation) - teacher.action(observation)).max()
print(f"largest difference from raptor_jax's own actor: {difference:.1g}")

# %% [markdown]
# ## The flight
#
# On the drone of the teacher, with its task, from a random initial state.

# %%
config = raptor_jax.load_config(run / "checkpoints" / "config.yaml")
drone, reset, step = raptor_jax.make_environment(teacher.drone_file, config)


@jax.jit
def fly(key):
    """Returns position [S, 3], action [S, 4], reward [S] and whether the episode has ended [S] of one flight."""

    def one_step(episode, key):
        action = actor(episode.observation)
        following, outcome = step(drone, episode, action, key)
        return following, (episode.state.position, action, outcome.reward, outcome.finished)

    return jax.lax.scan(one_step, reset(drone, key), jax.random.split(key, config.environment.episode_steps))[1]


position, action, reward, finished = map(np.asarray, fly(jax.random.key(0)))
length = int(finished.argmax()) + 1 if finished.any() else len(finished)
position, action, reward = position[:length], action[:length], reward[:length]
print(
    f"{length} steps, return {reward.sum():.1f}, {100 * np.linalg.norm(position[-1]):.1f} cm from the target at the end"
)

# %%
time = np.arange(length) * config.environment.dt
figure, (places, actions) = plt.subplots(2, 1, figsize=(8, 6), sharex=True)
for axis, label in enumerate(("x, forward", "y, left", "z, up")):
    places.plot(time, position[:, axis], label=label)
places.set(ylabel="position [m]")
for rotor, label in enumerate(("front right", "back right", "back left", "front left")):
    actions.plot(time, action[:, rotor], label=label, linewidth=0.8)
actions.set(xlabel="time [s]", ylabel="action")
for axes in (places, actions):
    axes.grid(alpha=0.3)
    axes.legend()

# %%
figure = plt.figure(figsize=(6, 6))
axes = figure.add_subplot(projection="3d")
axes.plot(*position.T)
axes.scatter(*position[0], color="C1", label="start")
axes.scatter(0, 0, 0, color="C3", label="target")
axes.set(xlabel="x [m]", ylabel="y [m]", zlabel="z [m]")
axes.legend()
