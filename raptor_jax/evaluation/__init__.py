"""Evaluation of actors: deterministic flights from fixed seeds, all teachers and episodes at once.

flights.py         actors, or a policy outside of JAX, in raptor_jax's simulator; one rollout function; `Evaluator`
foundation.py      the published foundation policy, as an evaluator (extra `foundation`)
l2f_simulator.py   the original simulator (extra `l2f`)
l2f_flights.py     the same episodes in the original simulator, as an evaluator
students.py        a student on many drones
matrix.py          every actor on every drone
ceiling.py         the best flight of one episode that gradient ascent finds
ceilings.py        these flights for many teachers and episodes, in blocks
"""

from raptor_jax.evaluation.flights import (
    FINAL,
    SELECTION,
    Evaluation,
    Evaluator,
    Flight,
    Policy,
    Rollout,
    evaluate,
    evaluate_policy,
    roll_out,
    roll_out_first,
)

__all__ = [
    "FINAL",
    "SELECTION",
    "Evaluation",
    "Evaluator",
    "Flight",
    "Policy",
    "Rollout",
    "evaluate",
    "evaluate_policy",
    "roll_out",
    "roll_out_first",
]
