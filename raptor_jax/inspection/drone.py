"""A drone's file: its parameters with their units, as JSON and as a table."""

from typing import Any, TypedDict

import numpy as np
from rich.console import Console
from rich.table import Table

from raptor_jax.drones import files, parameters
from raptor_jax.drones.fields import leaves
from raptor_jax.inspection.drone_sheet import Sheet, describe_sheet, show_sheet
from raptor_jax.utils.console import say


class Parameter(TypedDict):
    """A number or nested lists of numbers, and their unit."""

    value: Any
    unit: str


class DroneContent(TypedDict):
    """The content of a drone's file."""

    path: str
    thrust_to_weight: float
    torque_to_inertia: float
    """1/s^2."""
    parameters: dict[str, Parameter]
    """By dotted name."""
    sheet: Sheet
    metadata: dict[str, Any]


def describe_drone(file: files.DroneFile) -> DroneContent:
    """Returns the content of a drone's file for JSON."""
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


def show_drone(drone: DroneContent, console: Console) -> None:
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
