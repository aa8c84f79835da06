"""The settings that a run stores with its checkpoints, including those of version 0.1, which had other keys.

A run that version 0.1 wrote can be read, but not resumed or trained again: `config.load` refuses its keys.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raptor_jax import config
from raptor_jax.config import Config

_ANALYTIC = {
    "environments_per_teacher": ("environment", "environments_per_teacher"),
    "horizon": ("sac", "horizon"),
    "gamma": ("sac", "gamma"),
    "learning_rate": ("sac", "actor_learning_rate"),
    "gradient_clip": ("sac", "gradient_clip"),
    "state_gradient_limit": ("sac", "state_gradient_limit"),
    "survival_width": ("sac", "survival_width"),
}
"""The section and key that hold each setting of the former section `apg`, which `training.algorithm: apg` used."""


def load(path: Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """Reads the stored settings of a run, and applies overrides to them.

    Args:
        path: checkpoints/config.yaml of the run.
        overrides: values by dotted key.

    Raises:
        UserError: as `config.load`; keys of version 0.1 are translated.
    """
    return config.build(translate(config.read(path)), overrides or {}, str(path))


def translate(values: Any) -> Any:
    """Returns nested settings with the keys of version 0.1 replaced by the current ones; others are unchanged.

    A run of the former algorithm `sac` gets horizon 0, and one of `apg` the horizon of its windows. Anything but a
    mapping of sections is returned unchanged; `config.build` refuses it.
    """
    if not isinstance(values, dict) or not all(isinstance(section, dict) for section in values.values()):
        return values
    sections = {name: dict(section) for name, section in values.items()}
    training = sections.get("training", {})
    if "rescue_rounds" in training:
        training["extra_rounds"] = training.pop("rescue_rounds")
    algorithm = sections.get("training", {}).pop("algorithm", None)
    analytic = sections.pop("apg", {})
    rate = sections.get("sac", {}).pop("learning_rate", None)
    if algorithm is None and not analytic and rate is None:
        return sections
    renamed: dict[str, dict[str, Any]] = {"environment": {}, "sac": {}}
    if rate is not None:
        renamed["sac"].update(actor_learning_rate=rate, critic_learning_rate=rate)
    if algorithm == "sac":
        renamed["sac"]["horizon"] = 0
    else:
        for key, value in analytic.items():
            section, new_key = _ANALYTIC.get(key, ("sac", key))
            renamed[section][new_key] = value
        # Version 0.1 allowed a gamma of 1 here.
        if renamed["sac"].get("gamma") == 1:
            renamed["sac"]["gamma"] = math.nextafter(1, 0)
    for name, replaced in renamed.items():
        sections[name] = {**sections.get(name, {}), **replaced}
    return sections
