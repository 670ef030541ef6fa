# Sourced by the set-up steps. Every step says in one line what it does; when something is missing, one line says what
# is missing and how to get it. State of the set-up (stamps, logs, process ids) lives in .state/.
# shellcheck shell=sh

cd "$(dirname "$0")/.." || exit 1
mkdir -p .state

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

# Run a command as root, by sudo where this is not root.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "needs root and there is no sudo; run as root: $*"
    fi
}

# Run a command with its output in a log; when it fails, show the end of the log and which log it is.
logged() {
    log=$1
    shift
    if ! "$@" >>"$log" 2>&1; then
        tail -n 15 "$log" >&2
        fail "this failed, its output is in $log: $*"
    fi
}

# The start time of a process, which tells it from a later one that got its number. Empty when there is none.
start_time() { cut -d ' ' -f 22 "/proc/$1/stat" 2>/dev/null || true; }

# Whether the process recorded in a file as "pid start-time" still runs.
still_runs() {
    [ -e "$1" ] || return 1
    read -r recorded_pid recorded_start <"$1"
    [ "$(start_time "$recorded_pid")" = "$recorded_start" ]
}
