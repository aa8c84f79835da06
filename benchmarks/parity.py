"""Compares the simulator with the original one and prints the table of `docs/parity.md`.

Needs the `l2f` extra. Run it from the repository's root as `python -m benchmarks.parity`, so that it finds the
comparisons, which it shares with the tests (`validation/parity`).
"""

import argparse
import dataclasses
import json
import sys
from importlib.metadata import version
from pathlib import Path

from raptor_jax.utils.machine import machine, versions
from validation.drones import REFERENCE, reference_drones, sampled_drones
from validation.parity import l2f_package as parity
from validation.parity.comparison import Row


def main() -> int:
    """Prints machine, versions and table; returns 1 where a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the rows to this file")
    path = parser.parse_args().json

    about = machine() | versions() | {"l2f": version("l2f")}
    drones = sampled_drones(32) + (reference_drones() if REFERENCE.is_dir() else [])
    print(", ".join(f"{name} {value}" for name, value in about.items()), end="\n\n")
    print("| compared | cases | measure | worst | bound |\n|---|---|---|---|---|")
    rows = []

    def report(row: Row) -> None:
        rows.append(row)
        print(as_markdown(row), flush=True)

    parity.every_row(drones, report)
    if path is not None:
        content = {"machine": about, "rows": [dataclasses.asdict(row) | {"holds": row.holds} for row in rows]}
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row.holds for row in rows) else 1


def as_markdown(row: Row) -> str:
    """Returns one row of the table; a broken bound stands out."""
    relation = "at least" if row.at_least else "at most"
    verdict = "" if row.holds else " **broken**"
    return f"| {row.what} | {row.cases} | {row.measure} | {row.worst:.2g} | {relation} {row.bound:g}{verdict} |"


if __name__ == "__main__":
    sys.exit(main())
