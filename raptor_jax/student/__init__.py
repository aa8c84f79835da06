"""The student: one recurrent policy for all drones, which learns from the teachers. Pure functions.

network.py     the policy, and its memory
imitation.py   flights of the student, what the teachers would have done, and the update that imitates them
"""

from raptor_jax.student.imitation import Learner, Metrics, start, train
from raptor_jax.student.network import INPUTS, Weights, act, act_clipped, create, fresh_memory, parameter_count

__all__ = [
    "INPUTS",
    "Learner",
    "Metrics",
    "Weights",
    "act",
    "act_clipped",
    "create",
    "fresh_memory",
    "parameter_count",
    "start",
    "train",
]
