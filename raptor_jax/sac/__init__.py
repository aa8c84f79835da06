"""Soft actor-critic for one teacher: pure functions without a population axis.

Haarnoja et al., "Soft Actor-Critic Algorithms and Applications" (2018). At `sac.horizon` 0 it is model-free, with the
details of RLtools' implementation (Eschmann et al., 2024), each of them a setting of `SacConfig`: `update` learns from
a batch of a replay. At a horizon H above 0 the actor's objective is expanded by H steps through the simulator, SVG(H)
(Heess et al. 2015; Amos et al. 2021 and Xu et al. 2022 with a critic at the end; Xing et al. 2025 with entropy):
`update_on_windows` flies on-policy windows and learns from them.
"""

from raptor_jax.sac.expansion import update as update_on_windows
from raptor_jax.sac.networks import Actor, Parameters, TwinCritic, deterministic_action, sample_action
from raptor_jax.sac.teacher import Losses, Teacher, Transition, create, update
from raptor_jax.sac.window import Window

__all__ = [
    "Actor",
    "Losses",
    "Parameters",
    "Teacher",
    "Transition",
    "TwinCritic",
    "Window",
    "create",
    "deterministic_action",
    "sample_action",
    "update",
    "update_on_windows",
]
