#!/usr/bin/env bash
# Everything that the tests need (the l2f package included: it is compiled, once, for some minutes), and the tests.
# Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/environment.sh ".venv-test-$("${PYTHON:-python3}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
echo "installing raptor_jax and what its tests need"
python -m pip install --quiet --editable '.[test]'
if ! python -c 'import l2f' 2>/dev/null; then
    echo "compiling l2f, the original simulator; this takes some minutes, once"
    python -m pip install --quiet --editable '.[l2f]'
fi
ruff check .
ruff format --check .
mypy
python -m pytest "$@"
