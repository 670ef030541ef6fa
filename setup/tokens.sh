#!/bin/sh
# Make the issuer's SoftHSM2 token in var/ (its PINs are random and stay in files that only their owner can read).
set -eu
. "$(dirname "$0")/step.sh"

pin_file=var/issuer/hsm.pin
[ -e "$pin_file" ] || say "making the SoftHSM2 token issuer in var/softhsm"
logged .state/tokens.log /usr/bin/python3 softhsm/setup_token.py --dir var/softhsm --label issuer \
    --pin-file "$pin_file" --so-pin-file var/issuer/hsm.so-pin
