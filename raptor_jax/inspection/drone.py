"""A drone's file: its parameters with their units, as JSON and as a table."""

from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from raptor_jax.drones import files, parameters
from raptor_jax.drones.fields import leaves
from raptor_jax.inspection.drone_sheet import describe_sheet, show_sheet
from raptor_jax.utils.console import say


def describe_drone(file: files.DroneFile) -> dict[str, Any]:
    """Returns the content of a drone's file for JSON.

    Returns:
        `path`; `thrust_to_weight`; `torque_to_inertia` [1/s^2]; `parameters`, value and unit by dotted name; `sheet`,
        see `describe_sheet`; `metadata`.
    """
    dynamics = file.drone.dynamics
    return {
        "path": str(file.path),
        "thrust_to_weight": float(parameters.thrust_to_weight(dynamics)),
        "torque_to_inertia": float(parameters.torque_to_inertia(dynamics)),
        "parameters": {
            name: {"value": np.asarray(leaf.value).tolist(), "unit": leaf.specification.unit}
            for name, leaf in leaves(file.drone)
        },
        "sheet": describe_sheet(file.drone),
        "metadata": file.metadata,
    }


def show_drone(drone: dict[str, Any], console: Console) -> None:
    """Prints the result of `describe_drone`."""
    say(
        console,
        f"{drone['path']}: thrust-to-weight {drone['thrust_to_weight']:.3f},"
        f" torque-to-inertia {drone['torque_to_inertia']:.1f} 1/s^2",
    )
    table = Table("parameter", "value", "unit")
    for name, parameter in drone["parameters"].items():
        text = np.array2string(np.asarray(parameter["value"]), precision=6, separator=", ")
        table.add_row(name, text.replace("\n", ""), parameter["unit"])
    console.print(table)
    show_sheet(drone["sheet"], console)
