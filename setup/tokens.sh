#!/bin/sh
# Make the SoftHSM2 tokens of the lab's two platforms in var/ (their PINs are random and stay in files that only their
# owner can read). The two tokens share no key: what passes between them is wrapped.
set -eu
. "$(dirname "$0")/step.sh"

for label in issuer provider; do
    pin_file=var/$label/hsm.pin
    [ -e "$pin_file" ] || say "making the SoftHSM2 token $label in var/softhsm"
    logged .state/tokens.log /usr/bin/python3 softhsm/setup_token.py --dir var/softhsm --label "$label" \
        --pin-file "$pin_file" --so-pin-file "var/$label/hsm.so-pin"
done
