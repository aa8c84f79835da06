# Sourced by the other scripts: makes (once) and enters the virtual environment that the first argument names.
# PYTHON chooses the interpreter; it must be 3.11 or newer.
PYTHON=${PYTHON:-python3}
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "error: $PYTHON is not Python 3.11 or newer; name one: PYTHON=python3.12 $0" >&2
    exit 2
fi
if [ ! -x "$1/bin/pip" ]; then
    "$PYTHON" -m venv "$1" || { echo "error: $PYTHON cannot make a virtual environment; install its venv module" >&2; exit 2; }
fi
. "$1/bin/activate"
export PIP_DISABLE_PIP_VERSION_CHECK=1
