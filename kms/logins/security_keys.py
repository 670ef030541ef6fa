"""Security keys by WebAuthn (W3C Level 2), for one site: its relying party id and its one origin.

Rules: user verification is required, at registration and at each assertion. No attestation is asked for: which make of
key somebody uses is not known and not needed. The signature counter must go up where a key counts at all (W3C 7.2 step
21). An answer given inside a frame of another site is refused. What the library says of a refusal stays here: its texts
name what was sent.
"""

import json
from collections.abc import Mapping, Sequence

from cryptography.exceptions import UnsupportedAlgorithm
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url, options_to_json_dict
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from kms.domain.second_factors import SecurityKey
from kms.errors import Code, KmsError

REFUSED = "The security key's answer is not for this login, or not of this key."
ALGORITHMS = [
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
]
TIMEOUT_MS = 120_000
MAX_KEY_ID = 1023  # bytes: W3C Level 2, section 4, credential id
# What a malformed answer makes the library raise.
FAULTS = (WebAuthnException, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError)


class WebAuthnKeys:
    """`kms.service.people_ports.SecurityKeys`. `rp_id`: the site's domain; `origin`: scheme, host and port of it."""

    def __init__(self, *, rp_id: str, rp_name: str, origin: str) -> None:
        self._rp_id = rp_id
        self._rp_name = rp_name
        self._origin = origin

    def build_registration(
        self, *, challenge: bytes, user_id: bytes, login: str, name: str, known: Sequence[bytes]
    ) -> Mapping[str, object]:
        """See `SecurityKeys.build_registration`."""
        options = generate_registration_options(
            rp_id=self._rp_id,
            rp_name=self._rp_name,
            user_id=user_id,
            user_name=login,
            user_display_name=name,
            challenge=challenge,
            timeout=TIMEOUT_MS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.DISCOURAGED,
                user_verification=UserVerificationRequirement.REQUIRED,
            ),
            exclude_credentials=[PublicKeyCredentialDescriptor(id=key_id) for key_id in known],
            supported_pub_key_algs=ALGORITHMS,
        )
        return options_to_json_dict(options)

    def check_registration(self, challenge: bytes, answer: Mapping[str, object]) -> SecurityKey:
        """See `SecurityKeys.check_registration`."""
        try:
            _check_same_site(answer)
            found = verify_registration_response(
                credential=dict(answer),
                expected_challenge=challenge,
                expected_rp_id=self._rp_id,
                expected_origin=self._origin,
                require_user_verification=True,
                supported_pub_key_algs=ALGORITHMS,
            )
        except FAULTS:
            raise KmsError(Code.LOGIN_REFUSED, REFUSED) from None
        return SecurityKey(found.credential_id, found.credential_public_key, found.sign_count)

    def build_assertion(self, *, challenge: bytes, allowed: Sequence[bytes]) -> Mapping[str, object]:
        """See `SecurityKeys.build_assertion`."""
        options = generate_authentication_options(
            rp_id=self._rp_id,
            challenge=challenge,
            timeout=TIMEOUT_MS,
            allow_credentials=[PublicKeyCredentialDescriptor(id=key_id) for key_id in allowed],
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return options_to_json_dict(options)

    def read_key_id(self, answer: Mapping[str, object]) -> bytes:
        """See `SecurityKeys.read_key_id`."""
        text = answer.get("id")
        try:
            key_id = base64url_to_bytes(text) if isinstance(text, str) else b""
        except ValueError:
            key_id = b""
        if not 1 <= len(key_id) <= MAX_KEY_ID:
            raise KmsError(Code.LOGIN_REFUSED, REFUSED)
        return key_id

    def check_assertion(self, challenge: bytes, answer: Mapping[str, object], key: SecurityKey) -> int:
        """See `SecurityKeys.check_assertion`."""
        try:
            _check_same_site(answer)
            found = verify_authentication_response(
                credential=dict(answer),
                expected_challenge=challenge,
                expected_rp_id=self._rp_id,
                expected_origin=self._origin,
                credential_public_key=key.public_key,
                credential_current_sign_count=key.counter,
                require_user_verification=True,
            )
        except FAULTS:
            raise KmsError(Code.LOGIN_REFUSED, REFUSED) from None
        if found.credential_id != key.key_id:
            raise KmsError(Code.LOGIN_REFUSED, REFUSED)
        return found.new_sign_count

    def build_evidence(self, answer: Mapping[str, object], key: SecurityKey) -> str:
        """See `SecurityKeys.build_evidence`. For an answer that `check_assertion` took."""
        response = answer["response"]
        signed = ("clientDataJSON", "authenticatorData", "signature")
        values = {name: response[name] for name in signed} if isinstance(response, Mapping) else {}
        evidence = {
            "type": "webauthn",
            "id": bytes_to_base64url(key.key_id),
            "publicKey": bytes_to_base64url(key.public_key),
            "rpId": self._rp_id,
            "origin": self._origin,
            **values,
        }
        return json.dumps(evidence, sort_keys=True)


def _check_same_site(answer: Mapping[str, object]) -> None:
    """Raise ValueError for an answer from within a frame of another site (W3C Level 3, 7.1 step 10, 7.2 step 14)."""
    response = answer["response"]
    if not isinstance(response, Mapping):
        raise TypeError("no response")
    client_data = json.loads(base64url_to_bytes(response["clientDataJSON"]))
    if client_data.get("crossOrigin") not in {None, False}:
        raise ValueError("given in another site's frame")
