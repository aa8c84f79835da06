#!/usr/bin/env bash
# scripts/test.sh [--quick] [ARGUMENTS OF PYTEST]
# Everything that the tests need (the l2f package included: it is compiled, once, for some minutes), the linter, the type
# checker, the import check, and all tests. With --quick, all checks, and the tests that are not marked slow; it neither
# compiles l2f nor installs chromium.
set -euo pipefail
cd "$(dirname "$0")/.."
quick=
if [ "${1:-}" = --quick ]; then
    quick=yes
    shift
fi
. scripts/environment.sh ".venv-test-$("${PYTHON:-python3}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
echo "installing raptor_jax and what its tests need"
python -m pip install --quiet --editable '.[test]'
if [ ! "$quick" ] && ! python -c 'import l2f' 2>/dev/null; then
    echo "compiling l2f, the original simulator; this takes some minutes, once"
    python -m pip install --quiet --editable '.[l2f]'
fi
if [ ! "$quick" ] && ! command -v chromedriver >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing chromium, for the tests that look at the report"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium chromium-driver; } \
        >/dev/null || echo "chromium could not be installed"
fi
ruff check .
ruff format --check .
mypy
lint-imports
# Two processes: three take more than 8 GB, and no less time. The files with slow tests begin first (tests/conftest.py),
# and xdist keeps that order.
python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder --durations 10 ${quick:+-m "not slow"} "$@"
