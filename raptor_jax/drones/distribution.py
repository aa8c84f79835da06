"""Tests whether the drones in a directory follow the configured distribution.

All quantities are computed from the files, so the test also covers the writer and the reader.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from scipy import stats

from raptor_jax.config import SamplingConfig
from raptor_jax.drones import parameters
from raptor_jax.drones.files import DroneFile, load_directory
from raptor_jax.drones.parameters import Drone
from raptor_jax.drones.platforms import crazyflie
from raptor_jax.utils.files import write_atomically, write_text, writing

SIGNIFICANCE = 1e-3
"""Smallest p-value that passes: with nine tests, about one correct directory in a hundred fails."""

TEXT_FILE = "distribution.txt"
FIGURE_FILE = "distribution.png"

_RANGE_TOLERANCE = 1e-9
_METADATA_TOLERANCE = 1e-6
_QUANTILES = {"min": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "max": 1.0}
_WIDE = 120
"""Columns that a console needs for all quantiles; a narrower one shows three of them."""
_FEW = 30
"""Up to this number of drones the figure marks each one."""


class Law(NamedTuple):
    """The distribution that a quantity should follow."""

    name: str
    low: float
    high: float
    cdf: Callable[[np.ndarray], np.ndarray]
    bounded: bool = True
    """Whether values outside of `low` and `high` are errors; otherwise these only bound the plot."""


class Quantity(NamedTuple):
    """One quantity of every drone, and the law it should follow; None for a quantity that depends on others."""

    name: str
    unit: str
    values: np.ndarray
    law: Law | None

    @property
    def p_value(self) -> float | None:
        """The p-value of the one-sample Kolmogorov-Smirnov test; None for a constant or without a law."""
        if self.law is None or self.law.low == self.law.high:
            return None
        return float(stats.kstest(self.values, self.law.cdf).pvalue)

    @property
    def verdict(self) -> str:
        """`ok`, `outside`, `differs`, or `-` where there is no law."""
        if self.law is None:
            return "-"
        slack = _RANGE_TOLERANCE * max(abs(self.law.low), abs(self.law.high), 1)
        inside = self.law.low - slack <= self.values.min() and self.values.max() <= self.law.high + slack
        if self.law.bounded and not inside:
            return "outside"
        return "ok" if self.p_value is None or self.p_value >= SIGNIFICANCE else "differs"


class Distribution(NamedTuple):
    """The quantities of a directory's drones."""

    quantities: list[Quantity]
    num: int
    worst_metadata_error: float | None
    """Largest relative difference between a recomputed ratio and `metadata`; None if no file records one."""

    @property
    def ok(self) -> bool:
        """Whether every quantity follows its law and every file agrees with its metadata."""
        consistent = self.worst_metadata_error is None or self.worst_metadata_error <= _METADATA_TOLERANCE
        return consistent and all(quantity.verdict in ("ok", "-") for quantity in self.quantities)


def report(directory: str | Path, config: SamplingConfig, console: Console) -> Distribution:
    """Checks the drones of a directory, prints the table, and writes it and a figure into the directory.

    Raises:
        UserError: the directory contains no drones or an invalid one, or cannot be written.
    """
    directory = Path(directory)
    distribution = check(load_directory(directory), config)
    print_table(distribution, console)
    with writing(directory, "copy the drones to a writable directory"):
        # Atomically, so that a link with such a name is replaced and not followed.
        text = io.StringIO()
        print_table(distribution, Console(file=text, width=_WIDE))
        write_text(directory / TEXT_FILE, text.getvalue())
        write_atomically(directory / FIGURE_FILE, plot(distribution).savefig)
    return distribution


def check(files: Sequence[DroneFile], config: SamplingConfig) -> Distribution:
    """Returns the quantities of drones with the laws of a configuration."""
    drones = parameters.stack([file.drone for file in files])
    return Distribution(_quantities(drones, config), len(files), _worst_metadata_error(files, drones))


def print_table(distribution: Distribution, console: Console) -> None:
    """Prints the configured law, quartiles, p-value and verdict of every quantity."""
    wide = console.width >= _WIDE
    digits = 4 if wide else 3
    quantiles = _QUANTILES if wide else {name: _QUANTILES[name] for name in ("min", "median", "max")}
    table = Table(
        title=f"{distribution.num} drones and their configured distribution",
        box=SIMPLE,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("quantity", no_wrap=wide, min_width=17)
    for heading in ("configured", *quantiles, "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=wide)
    for quantity in distribution.quantities:
        law = quantity.law.name if quantity.law else "-"
        values = (f"{value:.{digits}g}" for value in np.quantile(quantity.values, list(quantiles.values())))
        p_value = "-" if quantity.p_value is None else f"{quantity.p_value:.2g}"
        style = {"ok": "green", "-": "dim"}.get(quantity.verdict, "bold red")
        table.add_row(escape(_label(quantity)), law, *values, p_value, f"[{style}]{quantity.verdict}[/]")
    console.print(table)
    console.print(
        f"ok: in range, and p of the Kolmogorov-Smirnov test at least {SIGNIFICANCE:g}"
        f" (by chance, about one directory in {1 / (SIGNIFICANCE * 10):.0f} fails)"
    )
    if distribution.worst_metadata_error is not None:
        console.print(
            "thrust-to-weight and torque-to-inertia, recomputed from the files, differ from the metadata by at most"
            f" {distribution.worst_metadata_error:.1e} (relative)"
        )


def plot(distribution: Distribution) -> Figure:
    """Returns a histogram of each sampled quantity, with the configured density as a line."""
    sampled = [quantity for quantity in distribution.quantities if quantity.law is not None]
    rows, columns = len(sampled) // 3, 3
    # Figure instead of pyplot: no display and no global state.
    figure = Figure(figsize=(4.4 * columns, 2.9 * rows), dpi=120, layout="constrained")
    figure.suptitle(f"{distribution.num} drones: counts (bars) and configured distribution (line)")
    for quantity, axis in zip(sampled, figure.subplots(rows, columns).flat, strict=True):
        _plot_quantity(quantity, axis)
    return figure


def _quantities(drones: Drone, config: SamplingConfig) -> list[Quantity]:
    """Returns every quantity of stacked drones."""
    dynamics = drones.dynamics
    thrust_to_weight = parameters.thrust_to_weight(dynamics)
    force_std = drones.disturbances.random_force.std
    surplus = thrust_to_weight - 1
    disturbance_share = 3 * force_std / (thrust_to_weight * dynamics.mass * surplus)

    def ranged(name: str) -> Law:
        return _uniform(*config.ranges[name])

    size = _uniform(float(np.cbrt(config.mass_min)), float(np.cbrt(config.mass_max)))
    rising = dynamics.rotor_time_constants_rising.mean(axis=-1)
    falling = dynamics.rotor_time_constants_falling.mean(axis=-1)
    torque_constant = dynamics.rotor_torque_constants.mean(axis=-1)
    return [
        Quantity("thrust-to-weight", "", thrust_to_weight, ranged("thrust_to_weight")),
        Quantity("torque-to-inertia", "1/s^2", parameters.torque_to_inertia(dynamics), ranged("torque_to_inertia")),
        Quantity("mass", "kg", dynamics.mass, _cubed(size, config.mass_min, config.mass_max)),
        Quantity("size", "kg^(1/3)", np.cbrt(dynamics.mass), size),
        Quantity("arm size deviation", "", _arm_size_deviation(drones), _deviation_law(config)),
        Quantity("rotor torque constant", "m", torque_constant, ranged("rotor_torque_constant")),
        Quantity("disturbance share", "", disturbance_share, _uniform(0, config.disturbance_force_max)),
        Quantity("rising time constant", "s", rising, ranged("rotor_time_constant_rising")),
        Quantity("falling time constant", "s", falling, ranged("rotor_time_constant_falling")),
        Quantity("rotor distance", "m", parameters.max_rotor_distance(dynamics), None),
        Quantity("J_xx", "kg m^2", dynamics.J[:, 0, 0], None),
        Quantity("hovering throttle", "", dynamics.hovering_throttle_relative, None),
        Quantity("disturbance std", "N", force_std, None),
    ]


def _arm_size_deviation(drones: Drone) -> np.ndarray:
    """Returns the deviation of the arm lengths from the Crazyflie's, scaled by the cube root of the mass."""
    nominal = crazyflie()
    distance = parameters.max_rotor_distance(drones.dynamics) / parameters.max_rotor_distance(nominal)
    factor = distance / np.cbrt(drones.dynamics.mass / nominal.mass)
    return np.where(factor >= 1, factor - 1, 1 - 1 / factor)


def _uniform(low: float, high: float) -> Law:
    if low == high:
        return Law(f"{low:.4g}", low, high, lambda values: (values >= low).astype(float))
    return Law(f"U({low:.4g}, {high:.4g})", low, high, stats.uniform(low, high - low).cdf)


def _cubed(size: Law, mass_min: float, mass_max: float) -> Law:
    """Returns the law of a mass whose cube root follows `size`."""
    name = f"U^3({mass_min:.4g}, {mass_max:.4g})"
    return Law(name, mass_min, mass_max, lambda mass: size.cdf(np.cbrt(mass)))


def _deviation_law(config: SamplingConfig) -> Law:
    deviation = config.mass_size_deviation
    if config.mass_size_deviation_law == "uniform" or deviation == 0:
        return _uniform(-deviation, deviation)
    normal = stats.norm(-deviation, deviation)
    drawn = normal.ppf([1e-4, 1 - 1e-4])
    return Law(f"N({-deviation:.4g}, {deviation:.4g})", drawn[0], drawn[1], normal.cdf, bounded=False)


def _worst_metadata_error(files: Sequence[DroneFile], drones: Drone) -> float | None:
    ratios = {
        "thrust_to_weight": parameters.thrust_to_weight(drones.dynamics),
        "torque_to_inertia": parameters.torque_to_inertia(drones.dynamics),
    }
    errors = [
        abs(value / file.metadata[key] - 1)
        for key, values in ratios.items()
        for file, value in zip(files, values, strict=True)
        if isinstance(file.metadata.get(key), int | float) and file.metadata[key] != 0
    ]
    return float(max(errors)) if errors else None


def _label(quantity: Quantity) -> str:
    return f"{quantity.name} [{quantity.unit}]" if quantity.unit else quantity.name


def _plot_quantity(quantity: Quantity, axis: Axes) -> None:
    law, values = quantity.law, quantity.values
    assert law is not None
    low, high = min(law.low, values.min()), max(law.high, values.max())
    if np.isclose(low, high):
        low, high = low - 0.5, high + 0.5
    bins = int(np.clip(len(values) // 25, 8, 30))
    counts, edges, _ = axis.hist(
        values, bins=bins, range=(low, high), color="#9ecae1", edgecolor="white", linewidth=0.5
    )
    if law.low < law.high:
        grid = np.linspace(law.low, law.high, 400)
        density = np.diff(law.cdf(grid)) / np.diff(grid)
        expected = len(values) * (edges[1] - edges[0]) * density
        axis.plot((grid[1:] + grid[:-1]) / 2, expected, color="#b2182b", linewidth=1.5)
    if len(values) <= _FEW:
        axis.plot(values, np.zeros(len(values)), "|", color="#08519c", markersize=14)
    axis.set_xlim(low, high)
    # The peak in the density of the mass would flatten the histogram.
    axis.set_ylim(0, 1.3 * np.max(counts))
    axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axis.spines[["top", "right"]].set_visible(False)
    p_value = "" if quantity.p_value is None else f", p = {quantity.p_value:.2g}"
    axis.set_title(quantity.verdict + p_value, fontsize=9, color="#333333" if quantity.verdict == "ok" else "#b2182b")
    axis.set_xlabel(_label(quantity))
    axis.set_ylabel("drones")
