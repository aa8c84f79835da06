"""The policies that `--policy` can name: one policy for all drones, in either simulator."""

from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from raptor_jax.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from raptor_jax.config import Config
    from raptor_jax.drones.parameters import Drone
    from raptor_jax.evaluation import Evaluation, Evaluator, Policy

    EvaluatePolicy = Callable[[Config, Policy, Drone, int, int], Evaluation]

FOUNDATION, KEPT = "foundation", "kept"


def load_policy(name: str) -> "Policy":
    """Returns the published foundation policy, or a student.

    Args:
        name: FOUNDATION, or the path of a student.

    Raises:
        UserError: there is no such student, or a package is missing.
    """
    if name == FOUNDATION:
        from raptor_jax.evaluation.foundation import FoundationPolicy

        return FoundationPolicy()
    from raptor_jax.evaluation.students import StudentPolicy
    from raptor_jax.runs import student_file

    return StudentPolicy(student_file.load(Path(name))[0])


def policy_evaluator(simulator: str) -> "EvaluatePolicy":
    """Returns the function that evaluates a policy in a simulator, `jax` or `l2f`. Raises UserError."""
    from raptor_jax.evaluation import evaluate_policy

    return evaluate_policy if simulator == "jax" else l2f_flights().evaluate_policy


def actors_evaluator(simulator: str) -> "Evaluator":
    """Returns the function that evaluates actors in a simulator, `jax` or `l2f`. Raises UserError."""
    from raptor_jax.evaluation import evaluate

    return evaluate if simulator == "jax" else l2f_flights().evaluate


def l2f_flights() -> ModuleType:
    """Returns `evaluation.l2f_flights`. Raises UserError if the package l2f is missing."""
    try:
        from raptor_jax.evaluation import l2f_flights
    except ImportError:
        raise UserError("--simulator l2f: install raptor-jax[l2f] for it (it compiles for some minutes)") from None
    return l2f_flights
