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
# # Reward curves of all teachers
#
# How a population learned, which drones were hard, and what failed. Paths are seen from this directory, `examples`;
# several runs of the same task are read as one population. It needs `pip install 'raptor-jax[notebook]'`. The notebook
# is made from the script: `jupytext --to ipynb reward_curves.py`.

# %%
RUNS = ["../experiments/pre_training"]

# %%
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import spearmanr

from raptor_jax import analysis

population = analysis.load(*RUNS)
teachers = population.teachers
returns = analysis.returns(population)
pass_return = teachers["pass_return"].max()
print(f"{len(population)} teachers, {teachers['passed'].sum()} passed (mean return above {pass_return:g})")
if not teachers["judged"].all():
    print(f"{(~teachers['judged']).sum()} had no final evaluation: their best evaluation in training counts below")
print("5th, 50th, 95th percentile of the returns:", np.round(np.nanpercentile(returns, [5, 50, 95]), 1))

# %% [markdown]
# ## Reward curves
#
# Left, what each teacher's actor reached as it was; a curve that starts again lower is an extra round. Right, the kept
# actors, which are the best so far.

# %%
step, reward = population.evaluation.step, population.evaluation["reward"]
kept = analysis.best_so_far(population)

figure, (each, bands) = plt.subplots(1, 2, figsize=(13, 4.5), sharey=True)
for curve in reward:
    known = np.isfinite(curve)
    each.plot(step[known], curve[known], color="C0", linewidth=0.7, alpha=max(0.03, min(1, 12 / len(population))))
each.set(title="each teacher", xlabel="environment steps of a teacher", ylabel="mean return of an evaluation")
for low, high, shade in ((5, 95, 0.2), (25, 75, 0.4)):
    bounds = np.nanpercentile(kept, [low, high], axis=0)
    bands.fill_between(step, *bounds, color="C0", alpha=shade, linewidth=0, label=f"{low}th to {high}th percentile")
bands.plot(step, np.nanmedian(kept, axis=0), color="C0", label="median")
bands.plot(step, np.nanmin(kept, axis=0), color="C3", linewidth=1, label="worst")
bands.set(title="kept actors", xlabel="environment steps of a teacher")
for axis in (each, bands):
    axis.axhline(pass_return, color="black", linestyle=":", label="pass return")
    axis.grid(alpha=0.3)
bands.legend(loc="lower right")
figure.tight_layout()

# %% [markdown]
# ## Time to pass
#
# The first evaluation above the pass return, in environment steps of a teacher.

# %%
steps = analysis.steps_to_pass(population)
share = [np.mean(steps <= limit) for limit in step]

figure, axis = plt.subplots(figsize=(6.5, 4))
axis.step(step, share, where="post")
axis.set(xlabel="environment steps of a teacher", ylabel="share of teachers that passed", ylim=(0, 1.02))
axis.grid(alpha=0.3)
print(f"never above the pass return: {np.isnan(steps).sum()} teachers")

# %% [markdown]
# ## Which drones are hard
#
# Return against the two ratios that a drone's agility is drawn by, and both together, coloured by return.

# %%
figure, axes = plt.subplots(1, 3, figsize=(15, 4.5))
for axis, name in zip(axes, ("thrust_to_weight", "torque_to_inertia"), strict=False):
    axis.scatter(teachers[name], returns, c=np.where(teachers["passed"], "C0", "C3"), s=12, alpha=0.7)
    axis.axhline(pass_return, color="black", linestyle=":")
    axis.set(xlabel=f"{name} [{analysis.PARAMETERS[name].unit}]", ylabel="mean return")
    axis.grid(alpha=0.3)
points = axes[2].scatter(teachers["thrust_to_weight"], teachers["torque_to_inertia"], c=returns, s=16, cmap="viridis")
axes[2].set(xlabel="thrust_to_weight [1]", ylabel="torque_to_inertia [1/s^2]")
figure.colorbar(points, label="mean return")
figure.tight_layout()

# %% [markdown]
# How the return goes with every parameter: Spearman's rank correlation (1: the more, the better; 0: nothing).

# %%
for name in analysis.PARAMETERS:
    print(f"{name:28s} {spearmanr(teachers[name], returns, nan_policy='omit').statistic:+.2f}")

# %% [markdown]
# ## The hardest and the easiest

# %%
SHOWN = [
    *("run", "teacher_id", "return", "episode_length", "share_terminated", "thrust_to_weight", "torque_to_inertia"),
    *("mass", "rotor_time_constant_rising", "rotor_time_constant_falling"),
]
table = population.to_dataframe().assign(**{"return": returns}).sort_values("return")
few = max(1, min(10, len(population) // 2))
table[SHOWN].head(few).round(3)

# %%
table[SHOWN].tail(few)[::-1].round(3)

# %%
figure, axis = plt.subplots(figsize=(8, 4.5))
for rows, color, label in ((table.index[:few], "C3", "hardest"), (table.index[-few:], "C0", "easiest")):
    lines = axis.plot(step, kept[rows].T, color=color, linewidth=1, alpha=0.7)
    lines[0].set_label(f"the {few} {label}")
axis.axhline(pass_return, color="black", linestyle=":")
axis.set(xlabel="environment steps of a teacher", ylabel="return of the kept actor")
axis.grid(alpha=0.3)
axis.legend()

# %% [markdown]
# ## Failures
#
# Teachers that were judged and did not pass, or whose numbers became non-finite.

# %%
failed = table[(table["judged"] & ~table["passed"]) | table["frozen_at_step"].notna()]
print(f"{len(failed)} of {len(population)}")
failed[SHOWN].round(3)
