#!/bin/sh
# See that pcscd serves the virtual reader: use the one that runs, start one only where none does (a host has one).
set -eu
. "$(dirname "$0")/step.sh"

has_virtual_reader() { opensc-tool --list-readers 2>/dev/null | grep -q 'Virtual PCD'; }

# Where systemd holds pcscd's socket, asking for the readers has just started it.
if has_virtual_reader; then
    exit 0
fi

running=$(cat /run/pcscd/pcscd.pid 2>/dev/null || true)
if [ -n "$running" ] && [ "$(cat "/proc/$running/comm" 2>/dev/null)" = pcscd ]; then
    fail "pcscd (process $running) runs without the virtual reader, probably since before that was installed: stop it (systemctl stop pcscd, or kill $running) and try again"
fi

say "starting pcscd (log: .state/pcscd.log)"
# setsid: a Ctrl-C in this terminal is for the program in front, not for pcscd.
# shellcheck disable=SC2016  # expanded by the inner shell, which may be root's
as_root sh -c '
    cd "$1"
    setsid pcscd --foreground </dev/null >.state/pcscd.log 2>&1 &
    # The start time tells our process from a later one that got its number.
    echo "$! $(cut -d " " -f 22 "/proc/$!/stat")" >.state/pcscd.pid
' sh "$PWD"

tries=0
until has_virtual_reader; do
    tries=$((tries + 1))
    [ "$tries" -lt 50 ] || fail "pcscd does not list a Virtual PCD reader after 10 seconds; see .state/pcscd.log (is TCP port 35963 taken by another pcscd?)"
    sleep 0.2
done
