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
if ! command -v chromedriver >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing chromium, for the tests that look at the report"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver; } \
        >/dev/null || echo "chromium could not be installed; the tests that need it are skipped"
fi
ruff check .
ruff format --check .
mypy
lint-imports
python -m pytest --numprocesses 2 --dist loadfile "$@"
