#!/usr/bin/env bash
# From a fresh clone to four trained teachers on the CPU: environment, installation, drones, training, table.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh .venv
echo "installing raptor_jax and what it needs into .venv"
python -m pip install --quiet --editable .

OUTPUT=experiments/quickstart
raptor-jax sample --config configs/quickstart.yaml --dynamics-dir "$OUTPUT-dynamics"
echo "Later commands need this environment: . .venv/bin/activate"
raptor-jax train --config configs/quickstart.yaml --dynamics-dir "$OUTPUT-dynamics" --output-dir "$OUTPUT" --device cpu "$@"
