#!/bin/sh
# Makes .venv in the checkout. Idempotent: make runs it again only when the pinned versions change.
set -eu
: "${PYTHON:=python3}"
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "Printworks needs Python 3.11 or newer; '$PYTHON' is not. Name one: make PYTHON=/path/to/python3.11" >&2
    exit 2
fi
echo "setting up .venv (once; torch is large, so this takes a minute or more)" >&2
[ -x .venv/bin/python ] || "$PYTHON" -m venv .venv
.venv/bin/python -m pip install --disable-pip-version-check --constraint constraints.txt \
    --editable '.[gateway,dispatcher,worker,local,dev]' >&2
touch .venv/ready
