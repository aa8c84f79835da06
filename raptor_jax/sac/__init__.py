"""Soft actor-critic for one teacher: pure functions without a population axis.

Haarnoja et al., "Soft Actor-Critic Algorithms and Applications" (2018), with the details of RLtools' implementation
(Eschmann et al., 2024), each of them a setting of `SacConfig`.
"""

from raptor_jax.sac.networks import Actor, Parameters, TwinCritic, deterministic_action, sample_action
from raptor_jax.sac.teacher import Losses, Teacher, Transition, create, update

__all__ = [
    "Actor",
    "Losses",
    "Parameters",
    "Teacher",
    "Transition",
    "TwinCritic",
    "create",
    "deterministic_action",
    "sample_action",
    "update",
]
