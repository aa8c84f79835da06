"""The names of settings, `SECTION.KEY`: all current ones, earlier ones, and the nearest to a misspelt one."""

import difflib
import functools
from typing import Any, Literal, get_origin

from raptor_jax.config.sections import Config, Section

_RENAMED = {
    "apg": "sac.*, and environment.environments_per_teacher",
    "apg.environments_per_teacher": "environment.environments_per_teacher",
    "apg.horizon": "sac.horizon",
    "apg.gamma": "sac.gamma",
    "apg.learning_rate": "sac.actor_learning_rate",
    "apg.gradient_clip": "sac.gradient_clip",
    "apg.state_gradient_limit": "sac.state_gradient_limit",
    "apg.survival_width": "sac.survival_width",
    "sac.learning_rate": "sac.actor_learning_rate and sac.critic_learning_rate",
    "training.algorithm": "sac.horizon (0 is model-free SAC)",
}
"""Keys of version 0.1, and their replacements."""


def sections() -> dict[str, type[Section]]:
    """Returns the class of every section by name, in order."""
    return {name: type(field.default) for name, field in Config.model_fields.items()}


@functools.cache
def all_keys() -> tuple[str, ...]:
    """Returns every dotted key."""
    return tuple(f"{section}.{key}" for section, model in sections().items() for key in model.model_fields)


def renamed(dotted: str) -> str | None:
    """Returns a message that names the replacement of a key of an earlier version; None for any other key."""
    return f"no longer a setting; use {_RENAMED[dotted]}" if dotted in _RENAMED else None


def nearest(dotted: str) -> str | None:
    """Returns the section or key that is most similar to an unknown one; None if none is similar."""
    names = list(all_keys()) if "." in dotted else list(sections())
    by_key = {name.rpartition(".")[2]: name for name in names}
    alike = difflib.get_close_matches(dotted, names, 1) or [
        by_key[match] for match in difflib.get_close_matches(dotted.rpartition(".")[2], by_key, 1)
    ]
    return alike[0] if alike else None


def type_name(annotation: Any) -> str:
    """Returns the name of a field's type for help texts."""
    if get_origin(annotation) is Literal:
        return "{" + ",".join(annotation.__args__) + "}"
    return annotation.__name__.upper()
