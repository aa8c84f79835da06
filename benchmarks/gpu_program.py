"""The programs of a training as XLA compiles them for a GPU, without one: kernels, memory, and a predicted time.

    pip install -e '.[cuda12]'   # or cuda13
    python -m benchmarks.gpu_program [--cards h100 h200] [--teachers 1 1000] [--settings FILE ...] [--json FILE]

Every row is compiled for a card from its description alone. Kernels are the instructions of the compiled text that
launch something, in a loop as often as it turns. Times are a PREDICTION by a simple model: a kernel takes the longest
of 2.5 us, its bytes over the card's bandwidth and its arithmetic over the card's rate; kernels run one after another.
A run is the main round with its evaluations, without compilation and extra rounds. Where the first device of this
machine is one of the cards, its rows are compiled on it, with autotuning, and an update is measured beside.
"""

import argparse
import datetime
import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Any

import jax

from benchmarks import gpu_cards, gpu_program_rows
from benchmarks.gpu_cards import CARDS
from raptor_jax import config as configs
from raptor_jax.config import Config
from raptor_jax.errors import UserError
from raptor_jax.utils.files import write_json
from raptor_jax.utils.machine import machine, versions

SETTINGS = ("configs/pre_training.yaml", "configs/raptor_reference.yaml")
COLUMNS = {
    "setting": "{setting}",
    "card": "{card}",
    "teachers": "{teachers}",
    "kernels a step: forward": "{kernels_step_forward:.0f}",
    "backward": "{kernels_step_backward:.0f}",
    "kernels an update": "{kernels_update:,.0f}",
    "an iteration": "{kernels_iteration:,.0f}",
    "held, GiB": "{argument_gib:.2f}",
    "temporaries, GiB": "{temporary_gib:.2f}",
    "fits": "{fits_in_words}",
    "products, GFLOP an update": "{product_gflop:.4g}",
    "other operations, G": "{other_g:.4g}",
    "GB an update": "{update_gb:.4g}",
    "PREDICTED ms an update": "{predicted_update_ms:.4g}",
    "of which launches": "{launch_share:.0%}",
    "PREDICTED s a run": "{predicted_run_seconds:,.0f}",
    "measured ms an update": "{measured_update_ms:.4g}",
}
"""Heading of the table, and the form of what stands under it; what a row does not have stays empty."""


def main() -> None:
    """Compiles row after row; prints each at once, and writes all so far."""
    options = parse()
    plugin = str(gpu_cards.plugin())
    settings = load(options.settings)
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")
    if not list(Path("/dev").glob("nvidia[0-9]*")):
        # Without a GPU the plugin fails when jax tries it, and then compiles for nothing.
        jax.config.update("jax_platforms", "cpu")
    result: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {**machine(), "device": jax.devices()[0].device_kind},
        "versions": {**versions(), plugin: importlib.metadata.version(plugin)},
        "model": gpu_program_rows.predicted_seconds.__doc__,
        "rows": [],
    }
    print("\n".join(f"{name} {result[name]}" for name in ("date", "machine", "versions")))
    print(f"times are PREDICTED, not measured, unless a column says so\n\n| {' | '.join(COLUMNS)} |")
    print(f"|{'---|' * len(COLUMNS)}")
    here = [name for name, card in CARDS.items() if gpu_cards.present(card)]
    for setting, config in settings.items():
        for card in options.cards or here or CARDS:
            for teachers in options.teachers:
                row, compiled = gpu_program_rows.row(config, setting, card, teachers)
                result["rows"].append(row)
                print(as_markdown(row), flush=True)
                if options.text:
                    options.text.mkdir(parents=True, exist_ok=True)
                    text = compiled.programs.train.run.as_text()
                    (options.text / f"{setting}_{card}_{teachers}.hlo").write_text(text)
                if options.json:
                    write_json(options.json, result)
    print(f"\n{as_text_of_loops(result['rows'])}")


def parse() -> argparse.Namespace:
    """Returns the options; ends the program if the extra is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--teachers", type=int, nargs="+", default=[1, 64, 256, 1000], help="sizes of the population")
    add("--cards", nargs="+", choices=CARDS, help="default: this machine's, if it is one of them, else all")
    add("--settings", nargs="+", default=SETTINGS, help="YAML files (default: %(default)s)")
    add("--text", type=Path, metavar="DIR", help="also write the compiled text of each row's training here")
    add("--json", type=Path, metavar="FILE", help="also write every number to this file")
    options = parser.parse_args()
    if min(options.teachers) < 1:
        sys.exit(f"error: --teachers {min(options.teachers)}: name at least one teacher")
    if gpu_cards.plugin() is None:
        sys.exit(
            "error: the compiler for GPUs is missing; install it with: pip install 'raptor-jax[cuda12]' (or cuda13)"
        )
    return options


def load(paths: list[str]) -> dict[str, Config]:
    """Returns the settings by the names of their files; ends the program if one cannot be read."""
    try:
        return {Path(path).stem: configs.load(path) for path in paths}
    except UserError as error:
        sys.exit(f"error: {error}")


def as_markdown(row: dict[str, Any]) -> str:
    """Returns a row of the table."""
    values = {
        **row,
        "argument_gib": row["argument_bytes"] / 2**30,
        "temporary_gib": row["temporary_bytes"] / 2**30,
        "fits_in_words": "yes" if row["fits"] else "no",
        "product_gflop": 1e-9 * row["update_product_flop"],
        "other_g": 1e-9 * row["update_other_operations"],
        "update_gb": 1e-9 * row["update_bytes"],
        "predicted_update_ms": 1e3 * row["predicted_update_seconds"],
        "launch_share": row["predicted_launch_seconds"] / row["predicted_update_seconds"],
    }
    if "measured_update_seconds" in row:
        values["measured_update_ms"] = 1e3 * row["measured_update_seconds"]
    return f"| {' | '.join(_filled(form, values) for form in COLUMNS.values())} |"


def _filled(form: str, values: dict[str, Any]) -> str:
    try:
        return form.format(**values)
    except KeyError:
        return ""


def as_text_of_loops(rows: list[dict[str, Any]]) -> str:
    """Returns what the kernels of each setting's loops do, for its last row."""
    lines = []
    for row in {row["setting"]: row for row in rows}.values():
        lines.append(f"{row['setting']}, {row['card']}, {row['teachers']} teachers:")
        for loop in row["loops"]:
            kinds = ", ".join(f"{count} {kind}" for kind, count in loop["kinds"].items())
            turns = loop["turns"] if loop["turns_known"] else "an unknown number of"
            lines.append(f"- {turns} x {loop['kernels']} kernels in {loop['name']}: {kinds}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
