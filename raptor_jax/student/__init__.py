"""The student: one recurrent policy for all drones, which learns from the teachers. Pure functions.

network.py   the policy, and its memory
"""

from raptor_jax.student.network import INPUTS, Weights, act, create, fresh_memory, parameter_count

__all__ = ["INPUTS", "Weights", "act", "create", "fresh_memory", "parameter_count"]
