"""Real quadrotors by name, one JSON file each, from RLtools' registry.

The files contain the drone without a task; `metadata` names the source of the numbers.
"""

from pathlib import Path

from raptor_jax.drones.fields import parse
from raptor_jax.drones.parameters import Dynamics
from raptor_jax.utils.files import read_object

_DIRECTORY = Path(__file__).parent
_MAX_BYTES = 1 << 20


def names() -> list[str]:
    """Returns the names of all platforms, sorted."""
    return sorted(path.stem for path in _DIRECTORY.glob("*.json"))


def path_of(name: str) -> Path:
    """Returns the path of a platform's file."""
    return _DIRECTORY / f"{name}.json"


def crazyflie() -> Dynamics:
    """Returns the Crazyflie 2.1 with the optical flow and SD card decks, the nominal drone of the sampler.

    The hovering throttle is L2F's value, which differs from that of the thrust curve.
    """
    return parse(Dynamics, read_object(path_of("crazyflie"), _MAX_BYTES)["dynamics"], "dynamics")
