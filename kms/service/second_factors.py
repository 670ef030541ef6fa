"""Checking and registering second factors: a security key's assertion, or a one-time code.

Rules: a proof is `{"webauthn": the browser's answer}` or `{"totp": "123456"}` and nothing else. Checking changes
nothing: what was found is written by whoever asked, with `credentials.use`, which takes each only once. No transaction
is open while the HSM or a security key's signature is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kms.domain.people import Account, Credential, CredentialKind, Person, PersonState
from kms.domain.second_factors import DIGITS, SecurityKey, TotpSecret, build_totp_secret, find_step
from kms.errors import Code, KmsError
from kms.service.one_time_codes import OneTimeCodes
from kms.service.people_ports import SecurityKeys

WRONG_CODE = "This one-time code is wrong, or was used already: wait for the next one."
CHALLENGE_LENGTH = 32  # bytes
Proof = Mapping[str, object]


@dataclass(frozen=True)
class Shown:
    """A second factor that was shown: the credential as it was read, what its `used` becomes, and the evidence."""

    credential: Credential
    used: int
    evidence: str = field(repr=False)


class SecondFactors:
    """`platform`: the name that authenticator apps show."""

    def __init__(self, *, codes: OneTimeCodes, security_keys: SecurityKeys, platform: str) -> None:
        self._codes = codes
        self._security_keys = security_keys
        self._platform = platform

    def build_options(self, credentials: Sequence[Credential], challenge: bytes) -> Mapping[str, object] | None:
        """What the browser is asked for; None for an account without a security key."""
        key_ids = [item.key_id for item in credentials if item.key_id is not None]
        return self._security_keys.build_assertion(challenge=challenge, allowed=key_ids) if key_ids else None

    def check(self, credentials: Sequence[Credential], challenge: bytes, proof: Proof, now: datetime) -> Shown:
        """Raise `login.refused` unless the proof is of one of these credentials, now, for this challenge."""
        answer = proof.get("webauthn")
        if isinstance(answer, Mapping) and len(proof) == 1:
            return self._check_assertion(credentials, challenge, answer)
        code = _get_code(proof)
        for credential in credentials:
            if credential.kind is CredentialKind.TOTP:
                secret = self._codes.derive_secret(credential.data.decode(), credential.id)
                step = find_step(secret, code, now=now, used=credential.used)
                if step is not None:
                    return Shown(credential, step, CredentialKind.TOTP.value)
        raise KmsError(Code.LOGIN_REFUSED, WRONG_CODE)

    def offer(
        self, account: Account, person: Person, credential_id: str, challenge: bytes
    ) -> tuple[TotpSecret, Mapping[str, object]]:
        """What an invited person chooses from: a secret for one-time codes, options for a security key."""
        secret = self._codes.derive_secret(self._codes.get_key_id(), credential_id)
        options = self._security_keys.build_registration(
            challenge=challenge, user_id=account.id.encode(), login=account.login, name=person.name, known=()
        )
        return build_totp_secret(secret, issuer=self._platform, login=account.login), options

    def register(
        self, account: Account, credential_id: str, challenge: bytes, proof: Proof, *, label: str, now: datetime
    ) -> Credential:
        """The credential that the proof shows: of what was offered. Raises `login.refused`, `input.invalid`."""
        answer = proof.get("webauthn")
        if isinstance(answer, Mapping) and len(proof) == 1:
            key = self._security_keys.check_registration(challenge, answer)
            return Credential(
                id=credential_id,
                account_id=account.id,
                kind=CredentialKind.WEBAUTHN,
                label=label,
                data=key.public_key,
                state=PersonState.ACTIVE,
                created_at=now,
                used=key.counter,
                key_id=key.key_id,
            )
        code = _get_code(proof)
        key_id = self._codes.get_key_id()
        step = find_step(self._codes.derive_secret(key_id, credential_id), code, now=now, used=0)
        if step is None:
            raise KmsError(Code.LOGIN_REFUSED, WRONG_CODE)
        return Credential(
            id=credential_id,
            account_id=account.id,
            kind=CredentialKind.TOTP,
            label=label,
            data=key_id.encode(),
            state=PersonState.ACTIVE,
            created_at=now,
            used=step,
        )

    def _check_assertion(
        self, credentials: Sequence[Credential], challenge: bytes, answer: Mapping[str, object]
    ) -> Shown:
        if len(challenge) != CHALLENGE_LENGTH:  # nothing was asked for, so nothing is answered
            raise KmsError(Code.LOGIN_REFUSED, "No security key was asked for: begin again.")
        key_id = self._security_keys.read_key_id(answer)
        for credential in credentials:
            if credential.kind is CredentialKind.WEBAUTHN and credential.key_id == key_id:
                key = SecurityKey(key_id, credential.data, credential.used)
                counter = self._security_keys.check_assertion(challenge, answer, key)
                return Shown(credential, counter, self._security_keys.build_evidence(answer, key))
        raise KmsError(Code.LOGIN_REFUSED, "This security key is not one of this account.")


def _get_code(proof: Proof) -> str:
    code = proof.get("totp")
    if not isinstance(code, str) or len(proof) != 1 or len(code) != DIGITS or not (code.isascii() and code.isdigit()):
        raise KmsError(
            Code.INPUT_INVALID, f"A second factor is a security key's answer or a one-time code of {DIGITS} digits."
        )
    return code
