#!/bin/sh
# Resolve pyproject.toml into requirements.lock: exact versions with hashes, for Python 3.11, without registry addresses.
set -eu
. "$(dirname "$0")/step.sh"

command -v uv >/dev/null || fail "uv is missing; install it: pip install uv"
uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes \
    --custom-compile-command 'make lock' pyproject.toml --output-file requirements.lock
