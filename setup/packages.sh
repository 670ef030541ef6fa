#!/bin/sh
# Install the Debian packages of packages.txt that are missing (what each is for: docs/dependencies.md).
set -eu
. "$(dirname "$0")/step.sh"

command -v dpkg-query >/dev/null || fail "this set-up is for Debian 12; elsewhere install what setup/packages.txt names, then run the later steps"

missing=
while read -r package; do
    status=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done <setup/packages.txt
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    fail "Debian packages are missing and this is neither root nor has sudo; as root: apt-get update && apt-get install --no-install-recommends$missing"
fi
say "installing Debian packages:$missing"
logged .state/packages.log as_root env DEBIAN_FRONTEND=noninteractive apt-get update
# shellcheck disable=SC2086  # a list of package names
logged .state/packages.log as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $missing
