"""Trains a population of quadrotor teachers, one for each drone, in one JAX program.

    import raptor_jax

    config = raptor_jax.load_config("configs/quickstart.yaml")
    drones = raptor_jax.sample_drones(4, config)
    population = raptor_jax.train(drones, "experiments/quickstart", config)
    population.teachers["mean_return"]
    raptor_jax.evaluate("experiments/quickstart", seed=1).mean_return

These names, and jax with them, are imported from `raptor_jax.api` on first use, because the command line sets jax's
environment before that. For other trainers there is `raptor_jax.gymnasium_env`.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from raptor_jax.errors import UserError

if TYPE_CHECKING:
    from raptor_jax.api import (
        distill,
        evaluate,
        load_config,
        load_drones,
        load_student,
        load_teacher,
        make_environment,
        sample_drones,
        train,
    )
    from raptor_jax.runs import analysis
    from raptor_jax.runs.analysis import load

__version__ = version("raptor-jax")

__all__ = [
    "UserError",
    "analysis",
    "distill",
    "evaluate",
    "load",
    "load_config",
    "load_drones",
    "load_student",
    "load_teacher",
    "make_environment",
    "sample_drones",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from raptor_jax import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
