"""The settings: YAML and command-line values become one frozen `Config`.

sections.py   every setting, with its type, range, unit and default
keys.py       the names of settings, current and earlier ones
loading.py    reads YAML, applies overrides, and reports what is wrong in one line
"""

from raptor_jax.config.keys import all_keys, nearest, renamed, sections, type_name
from raptor_jax.config.loading import DEFAULT_CONFIG, build, dump, find, load, read
from raptor_jax.config.sections import (
    Config,
    DistillationConfig,
    EnvironmentConfig,
    SacConfig,
    SamplingConfig,
    Section,
    TrainingConfig,
)

__all__ = [
    "DEFAULT_CONFIG",
    "Config",
    "DistillationConfig",
    "EnvironmentConfig",
    "SacConfig",
    "SamplingConfig",
    "Section",
    "TrainingConfig",
    "all_keys",
    "build",
    "dump",
    "find",
    "load",
    "nearest",
    "read",
    "renamed",
    "sections",
    "type_name",
]
