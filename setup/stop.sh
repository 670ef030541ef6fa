#!/bin/sh
# Stop the pcscd that the set-up started, and no other.
set -eu
. "$(dirname "$0")/step.sh"

[ -e .state/pcscd.pid ] || exit 0
read -r pid started <.state/pcscd.pid
if [ "$(cut -d ' ' -f 22 "/proc/$pid/stat" 2>/dev/null)" = "$started" ]; then
    say "stopping pcscd (process $pid)"
    as_root kill "$pid"
fi
rm -f .state/pcscd.pid
