#!/bin/sh
# Make .venv from the hashed lock file, with this project installed in it (editable).
set -eu
. "$(dirname "$0")/step.sh"

# Debian's own Python: another one earlier on PATH may lack what the lock was resolved for.
python=/usr/bin/python3
stamp=.state/venv
# The folder is part of the stamp: a virtual environment does not survive being moved.
wanted=$(cat requirements.lock pyproject.toml | sha256sum | cut -d ' ' -f 1)" $PWD"
if [ -x .venv/bin/python ] && [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python must be Python 3.11 or newer: use Debian 12 or later"
say "installing the locked Python packages into .venv (log: .state/venv.log)"
: >.state/venv.log
[ -x .venv/bin/python ] || logged .state/venv.log "$python" -m venv --clear .venv
logged .state/venv.log .venv/bin/python -m pip install --disable-pip-version-check --require-hashes --requirement requirements.lock
logged .state/venv.log .venv/bin/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
printf '%s\n' "$wanted" >"$stamp"
