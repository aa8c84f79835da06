#!/usr/bin/env bash
# Builds the documentation site, strictly, into site/ or the directory that the first argument names.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh .venv-docs
echo "installing raptor_jax and what its documentation needs into .venv-docs"
python -m pip install --quiet --editable '.[docs]'
# The theme announces its successors at every build.
export NO_MKDOCS_2_WARNING=1
python -m mkdocs build --strict --site-dir "${1:-site}"
