#!/bin/sh
# Rehearse a newcomer's first minutes: `make` with the targets given, one after the other, in a clean clone of HEAD on a
# bare Debian 12, which is a chroot with nothing but git and make (the README's first line installs these). It is the
# only honest check of packages.txt.
#
# Two phases, each in namespaces of its own, so that mounts and processes end with it whatever happens: first the set-up,
# with network; then the target with no network but loopback. The second has its own port space: a pcscd on this host
# holds the virtual reader's TCP ports, and the one in the chroot needs them, too.
#
# Variables: REHEARSE_DIR keeps the bare system's archive between runs (default: kms-rehearsal in TMPDIR or /tmp);
# REHEARSE_BIND names directories of this machine to show in the chroot, such as a package mirror; REHEARSE_KEEP=1 leaves
# the chroot for a look. PIP_* and *_proxy variables and this machine's CA bundle (SSL_CERT_FILE) are passed on.
set -eu
. "$(dirname "$0")/step.sh"

targets=$*
keep_in=${REHEARSE_DIR:-${TMPDIR:-/tmp}/kms-rehearsal}
archive=$keep_in/bookworm.tar
bundle=/etc/ssl/certs/ca-certificates.crt
inside=/srv

[ "$(id -u)" = 0 ] || fail "a rehearsal needs root (chroot, mount): sudo -E make rehearse"
for program in mmdebstrap:mmdebstrap ip:iproute2 unshare:util-linux git:git; do
    command -v "${program%:*}" >/dev/null || fail "${program%:*} is missing: apt-get install ${program#*:}"
done

mkdir -p "$keep_in"
if [ ! -e "$archive" ]; then
    say "making a bare Debian 12 in $archive"
    logged .state/rehearse.log mmdebstrap --quiet --variant=minbase --include=ca-certificates,git,make bookworm "$archive.part.tar"
    mv "$archive.part.tar" "$archive"
fi

root=$(mktemp -d "$keep_in/root.XXXXXX")
clean_up() {
    # Its mounts were made in namespaces that are gone; --one-file-system in case this is ever not so.
    [ -n "${REHEARSE_KEEP:-}" ] || rm -rf --one-file-system "$root"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

tar -xf "$archive" -C "$root"
cp "${SSL_CERT_FILE:-$bundle}" "$root$bundle"
cp /etc/resolv.conf /etc/hosts "$root/etc/"
git clone --quiet --no-hardlinks . "$root$inside/kms"
say "rehearsing make $targets at $(git rev-parse --short HEAD) in $root"

set -- env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 PIP_CERT="$bundle"
for name in $(env | sed -n 's/^\(PIP_[A-Z_]*\|[a-zA-Z]*_proxy\|[A-Z]*_PROXY\)=.*/\1/p'); do
    [ "$name" = PIP_CERT ] || set -- "$@" "$name=$(printenv "$name")"
done

# shellcheck disable=SC2016  # expanded by the shell in the namespaces
inner='
    root=$1; shift
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    for shown in ${REHEARSE_BIND:-}; do
        mkdir -p "$root$shown"
        mount --bind "$shown" "$root$shown"
    done
    chroot "$root" "$@" </dev/null
    exit $? # not the last command: this shell stays process 1 and reaps what the target leaves behind
'

began=$(date +%s)
unshare --mount --pid --fork --kill-child sh -euc "$inner" sh "$root" "$@" make --no-print-directory -C "$inside/kms" tokens
say "set-up with network: $(($(date +%s) - began)) s"

# All targets in one namespace: what `make up` or a first `make demo` leaves running is there for the next.
# shellcheck disable=SC2016
each='
    for target in $0; do
        began=$(date +%s)
        make --no-print-directory "$target"
        echo "setup: make $target: $(($(date +%s) - began)) s"
    done
'
unshare --mount --pid --fork --kill-child --net sh -euc "ip link set lo up; $inner" sh "$root" "$@" sh -euc "cd $inside/kms; $each" "$targets"
say "rehearsed: $targets"
