"""Security keys against one written from the specification alone."""

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from kms.domain.second_factors import SecurityKey
from kms.errors import Code, KmsError
from kms.logins.security_keys import WebAuthnKeys
from tests.fakes.security_key import SoftwareSecurityKey, decode, encode

ORIGIN = "https://kms.example"
CHALLENGE = bytes(range(32))


@pytest.fixture
def site() -> WebAuthnKeys:
    return WebAuthnKeys(rp_id="kms.example", rp_name="bank", origin=ORIGIN)


@pytest.fixture
def key() -> SoftwareSecurityKey:
    return SoftwareSecurityKey(ORIGIN)


def register(site: WebAuthnKeys, key: SoftwareSecurityKey) -> SecurityKey:
    options = site.build_registration(challenge=CHALLENGE, user_id=b"1", login="bob", name="Bob", known=())
    return site.check_registration(CHALLENGE, key.create(options))


def ask(site: WebAuthnKeys, key: SoftwareSecurityKey, challenge: bytes = CHALLENGE) -> dict[str, Any]:
    return key.get(site.build_assertion(challenge=challenge, allowed=[key.key_id]))


def refused() -> "pytest.RaisesExc[KmsError]":
    return pytest.raises(KmsError, match=f"^{Code.LOGIN_REFUSED}")


def test_options_ask_for_a_verified_user_and_for_nothing_about_the_make(site: WebAuthnKeys) -> None:
    options: Any = site.build_registration(challenge=CHALLENGE, user_id=b"1", login="bob", name="Bob", known=[b"k"])
    assert options["challenge"] == encode(CHALLENGE)
    assert options["attestation"] == "none"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert [item["id"] for item in options["excludeCredentials"]] == [encode(b"k")]
    assertion: Any = site.build_assertion(challenge=CHALLENGE, allowed=[b"k"])
    assert assertion["userVerification"] == "required"
    assert [item["id"] for item in assertion["allowCredentials"]] == [encode(b"k")]


def test_a_registered_key_asserts(site: WebAuthnKeys, key: SoftwareSecurityKey) -> None:
    registered = register(site, key)
    assert registered.key_id == key.key_id
    answer = ask(site, key)
    assert site.read_key_id(answer) == key.key_id
    assert site.check_assertion(CHALLENGE, answer, registered) == registered.counter + 1


def test_an_assertion_for_another_challenge_is_refused(site: WebAuthnKeys, key: SoftwareSecurityKey) -> None:
    registered = register(site, key)
    with refused():
        site.check_assertion(bytes(32), ask(site, key), registered)


def test_a_counter_that_does_not_go_up_is_refused(site: WebAuthnKeys, key: SoftwareSecurityKey) -> None:
    registered = register(site, key)
    key.counter = 0
    with refused():
        site.check_assertion(CHALLENGE, ask(site, key), registered)


def test_an_assertion_is_no_registration_and_the_other_way_round(site: WebAuthnKeys, key: SoftwareSecurityKey) -> None:
    registered = register(site, key)
    options = site.build_registration(challenge=CHALLENGE, user_id=b"1", login="bob", name="Bob", known=())
    with refused():
        site.check_registration(CHALLENGE, ask(site, key))
    with refused():
        site.check_assertion(CHALLENGE, key.create(options), registered)


@pytest.mark.parametrize("part", ["clientDataJSON", "authenticatorData", "signature"])
def test_every_byte_of_an_assertion_counts(site: WebAuthnKeys, key: SoftwareSecurityKey, part: str) -> None:
    registered = register(site, key)
    answer = ask(site, key)
    signed = bytearray(decode(answer["response"][part]))
    for place in range(len(signed)):
        changed = bytearray(signed)
        changed[place] ^= 1
        answer["response"][part] = encode(bytes(changed))
        with refused():
            site.check_assertion(CHALLENGE, answer, registered)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"id": 5},
        {"id": ""},
        {"id": "AA", "rawId": "AA", "type": "public-key", "response": {}},
        {"id": "AA", "rawId": "AA", "type": "public-key", "response": {"clientDataJSON": "e30"}},
        {"id": "AA", "rawId": "AA", "type": "public-key", "response": {"clientDataJSON": "W10"}},
        {"id": "AA", "rawId": "AA", "type": "public-key", "response": {"clientDataJSON": 5}},
        {"id": "AA", "response": None},
    ],
)
def test_malformed_answers_are_refused(site: WebAuthnKeys, key: SoftwareSecurityKey, answer: dict[str, Any]) -> None:
    registered = register(site, key)
    with refused():
        site.check_registration(CHALLENGE, answer)
    with refused():
        site.check_assertion(CHALLENGE, answer, registered)


@pytest.mark.parametrize("text", ["", "A" * 4000, 5, None, "!"])
def test_what_names_no_key_is_refused(site: WebAuthnKeys, text: object) -> None:
    with refused():
        site.read_key_id({"id": text})


def test_evidence_is_checked_again_with_nothing_but_itself(site: WebAuthnKeys, key: SoftwareSecurityKey) -> None:
    registered = register(site, key)
    answer = ask(site, key)
    evidence = json.loads(site.build_evidence(answer, registered))
    assert set(evidence) == {
        "type", "id", "publicKey", "rpId", "origin", "clientDataJSON", "authenticatorData", "signature",
    }  # fmt: skip
    client_data = decode(evidence["clientDataJSON"])
    assert base64.urlsafe_b64decode(json.loads(client_data)["challenge"] + "=") == CHALLENGE
    signed = decode(evidence["authenticatorData"]) + hashlib.sha256(client_data).digest()
    assert signed.startswith(hashlib.sha256(evidence["rpId"].encode()).digest())
    cose = decode(evidence["publicKey"])
    point = b"\x04" + cose[-67:-35] + cose[-32:]  # -2: x, -3: y (RFC 9053 section 7.1.1), in this key's order
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    public.verify(decode(evidence["signature"]), signed, ec.ECDSA(hashes.SHA256()))
