"""How good are these actors: deterministic flights from fixed seeds, every teacher and episode at once.

flights.py                      kept actors, or a policy outside of JAX, in our simulator
foundation.py                   the published foundation policy, to compare with
l2f_simulator.py, l2f_flights.py   the original simulator, and the same flights in it (extra `l2f`)
matrix.py                       every actor on every drone
"""

from raptor_jax.evaluation.flights import (
    JUDGEMENT,
    SELECTION,
    Evaluation,
    Flight,
    Policy,
    Rollout,
    evaluate,
    evaluate_policy,
    roll_out,
    roll_out_first,
)

__all__ = [
    "JUDGEMENT",
    "SELECTION",
    "Evaluation",
    "Flight",
    "Policy",
    "Rollout",
    "evaluate",
    "evaluate_policy",
    "roll_out",
    "roll_out_first",
]
