#!/bin/sh
# Stop what the set-up left running: the pcscd that it started, or the client that kept another one up. No other pcscd.
set -eu
. "$(dirname "$0")/step.sh"

if still_runs .state/pcscd-client.pid; then
    kill "$recorded_pid"
fi
if still_runs .state/pcscd.pid; then
    say "stopping pcscd (process $recorded_pid)"
    as_root sh -c "kill $recorded_pid" # the shell's own kill: a bare system has no /bin/kill
fi
rm -f .state/pcscd.pid .state/pcscd-client.pid .state/pcscd-client-of
