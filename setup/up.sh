#!/bin/sh
# Prepare an issuer's platform in var/ (what is there already stays) and serve it in the foreground.
set -eu
. "$(dirname "$0")/step.sh"

log=.state/up.log
kms() { .venv/bin/kms --config config/issuer.toml "$@"; }
has_key() { printf '%s' "$keys" | grep -q "\"name\": \"$1\""; }

: >"$log"
[ -e var/pki/ca.pem ] || logged "$log" kms pki init
logged "$log" kms db upgrade
keys=$(kms keys list --json)
for kind in isd ssd-initial ssd; do
    has_key "$kind" || logged "$log" kms keys generate --kind "$kind" --name "$kind"
done
if ! has_key example-vendor; then
    # The virtual card's factory key, printed in every document of the trade: it needs no protection and gives none.
    (umask 077 && echo 404142434445464748494A4B4C4D4E4F >var/example-vendor.component)
    logged "$log" kms keys import --name example-vendor --type DES2 --kcv 8BAF47 --component-file var/example-vendor.component
    rm var/example-vendor.component
fi
[ -e var/pki/terminal-1.pem ] || logged "$log" kms pki terminal terminal-1 --enrol
logged "$log" kms cards import setup/example-cards.csv

cat <<'TEXT'

The issuer's platform is ready. In a second shell put a card into the virtual reader:

  .venv/bin/kms-terminal virtual-card --state var/card.json

and in a third be terminal and operator in turn:

  .venv/bin/kms-terminal apply --application A000000951000101   # the issuer's own ISD keys, a new domain, first keys
  .venv/bin/kms updates force --card 499999999900010203040506070809 --aid A0000009510001
  .venv/bin/kms-terminal once                                   # the card fetches what is pending: new keys
  .venv/bin/kms cards show 499999999900010203040506070809
  .venv/bin/kms visits list
  .venv/bin/kms hsm status

Ctrl-C here stops the platform; what it knows stays in var/ (make clean removes it).

TEXT
exec .venv/bin/kms --config config/issuer.toml serve
