#!/bin/sh
# See that pcscd serves the virtual reader: use the one that runs, start one only where none does (a host has one).
set -eu
. "$(dirname "$0")/step.sh"

has_virtual_reader() { opensc-tool --list-readers 2>/dev/null | grep -q 'Virtual PCD'; }

# The process number of the pcscd that runs, else nothing.
find_pcscd() {
    found=$(cat /run/pcscd/pcscd.pid 2>/dev/null || true)
    if [ -n "$found" ] && [ "$(cat "/proc/$found/comm" 2>/dev/null)" = pcscd ]; then
        echo "$found"
    fi
}

# systemd starts pcscd for a client and lets it end a minute after the last one. A virtual card is not a client: it
# connects to the reader from behind and would find nobody there. So a process of ours stays a client.
hold_open() {
    daemon=$(find_pcscd)
    grep -q auto-exit "/proc/${daemon:-none}/cmdline" 2>/dev/null || return 0
    daemon_seen="$daemon $(start_time "$daemon")"
    if still_runs .state/pcscd-client.pid && [ "$(cat .state/pcscd-client-of)" = "$daemon_seen" ]; then
        return 0
    fi
    say "keeping pcscd (process $daemon), which would end when idle, running until make down"
    setsid .venv/bin/python -c '
import signal
from smartcard.scard import SCARD_SCOPE_USER, SCardEstablishContext
context = SCardEstablishContext(SCARD_SCOPE_USER)
signal.pause()
' </dev/null >.state/pcscd-client.log 2>&1 &
    echo "$! $(start_time $!)" >.state/pcscd-client.pid
    echo "$daemon_seen" >.state/pcscd-client-of
}

# Where systemd holds pcscd's socket, asking for the readers has just started it.
if has_virtual_reader; then
    hold_open
    exit 0
fi

running=$(find_pcscd)
[ -z "$running" ] || fail "pcscd (process $running) runs without the virtual reader, probably since before that was installed; stop it (systemctl stop pcscd, or kill $running) and try again"

say "starting pcscd (log: .state/pcscd.log)"
# setsid: a Ctrl-C in this terminal is for the program in front, not for pcscd.
# shellcheck disable=SC2016  # expanded by the inner shell, which may be root's
as_root sh -c 'setsid pcscd --foreground </dev/null >.state/pcscd.log 2>&1 & echo $! >.state/pcscd.pid'
read -r pid <.state/pcscd.pid
as_root sh -c "echo $pid $(start_time "$pid") >.state/pcscd.pid"

tries=0
until has_virtual_reader; do
    tries=$((tries + 1))
    [ "$tries" -lt 50 ] || fail "pcscd does not list a Virtual PCD reader after 10 seconds; see .state/pcscd.log (is TCP port 35963 taken by another pcscd?)"
    sleep 0.2
done
