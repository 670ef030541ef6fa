"""This platform's key pairs in the token: EC P-256 that signs, RSA 3072 whose private half unwraps.

Rules: private halves are made in the token, never extractable, and do one thing. Both halves are token objects under
one object id: the public one is read back from there, so a run that was cut off finds it again. What is recorded of a
pair is its public half, which says whether the right pair answers to an object id, as check values do for secret keys.
"""

import hashlib
import hmac
from dataclasses import dataclass

from pkcs11 import Attribute, Key, Mechanism, ObjectClass, PrivateKey, PublicKey
from pkcs11 import KeyType as TokenKeyType
from pkcs11.types import SignMixin

from kms.domain.keys import PlatformKeyPurpose
from kms.domain.public_keys import build_signing_key, build_transport_key
from kms.errors import Code, KmsError
from kms.hsm.connection import Connection
from kms.hsm.faults import ConnectionLostError
from kms.hsm.masters import check_absence, check_object_id
from kms.hsm.templates import (
    SIGNING_PRIVATE,
    SIGNING_PUBLIC,
    TRANSPORT_PRIVATE,
    TRANSPORT_PUBLIC,
    Template,
    check_attributes,
)

RSA_BITS = 3072
SIGNATURE_LENGTH = 64  # r | s on P-256
P256 = bytes.fromhex("06082A8648CE3D030107")  # DER of the curve's OID 1.2.840.10045.3.1.7 (RFC 5480)
RSA_EXPONENT = (65537).to_bytes(3, "big")


@dataclass(frozen=True)
class PairTemplates:
    """How the two halves of a pair are made and kept."""

    private: Template
    public: Template


PAIRS = {
    PlatformKeyPurpose.SIGNING: PairTemplates(SIGNING_PRIVATE, SIGNING_PUBLIC),
    PlatformKeyPurpose.AUDIT: PairTemplates(SIGNING_PRIVATE, SIGNING_PUBLIC),
    PlatformKeyPurpose.TRANSPORT: PairTemplates(TRANSPORT_PRIVATE, TRANSPORT_PUBLIC),
}


def generate_key_pair(connection: Connection, object_id: bytes, label: str, purpose: PlatformKeyPurpose) -> bytes:
    """Generate a pair, or take up the one of that id which a run that was cut off has made. The public half (DER)."""
    check_object_id(object_id)
    private, public = _find_pair(connection, object_id)
    if private is None and public is None:
        _generate(connection, object_id, label, purpose)
        private, public = _find_pair(connection, object_id)
        if private is None or public is None:
            raise ConnectionLostError("a key pair that was just made is not there")
    if private is None or public is None:
        raise KmsError(
            Code.KEY_ATTRIBUTES,
            f"the HSM holds one half of key pair {object_id.hex().upper()}: let the token's security officer remove it",
        )
    return _check_pair(connection, private, public, purpose)


def check_key_pair(
    connection: Connection, object_id: bytes, purpose: PlatformKeyPurpose, public_key_der: bytes, now: float
) -> None:
    """Raise unless the pair is there as it was made. See `Vault.check_key_pair`."""
    private, public = _find_pair(connection, object_id)
    if private is None or public is None:
        check_absence(connection, now)
        raise _build_missing(object_id)
    if not hmac.compare_digest(_check_pair(connection, private, public, purpose), public_key_der):
        raise KmsError(
            Code.KEY_KCV_MISMATCH,
            f"key pair {object_id.hex().upper()} in the HSM has another public half than recorded; it is not used",
        )


def sign(connection: Connection, object_id: bytes, data: bytes, now: float) -> bytes:
    """ECDSA over the SHA-256 of `data`: r | s, 64 bytes. The hash is made here: SoftHSM2 has ECDSA alone."""
    key = get_private_key(connection, object_id, SIGNING_PRIVATE, now)
    if not isinstance(key, SignMixin):
        raise KmsError(Code.KEY_ATTRIBUTES, "this key in the HSM may not sign")
    signature = key.sign(hashlib.sha256(data).digest(), mechanism=Mechanism.ECDSA)
    if not isinstance(signature, bytes) or len(signature) != SIGNATURE_LENGTH:
        raise KmsError(Code.HSM_MECHANISM, f"the HSM signed with something else than {SIGNATURE_LENGTH} bytes")
    return signature


def get_private_key(connection: Connection, object_id: bytes, template: Template, now: float) -> PrivateKey:
    """The private half with its attributes compared. Raises `key.missing`, `key.ambiguous`, `key.attributes`."""
    key = find_half(connection, object_id, ObjectClass.PRIVATE_KEY)
    if key is None:
        check_absence(connection, now)
        raise _build_missing(object_id)
    if not isinstance(key, PrivateKey):
        raise KmsError(Code.KEY_ATTRIBUTES, f"object {object_id.hex().upper()} in the HSM is no private key")
    check_attributes(key, template)
    return key


def _find_pair(connection: Connection, object_id: bytes) -> tuple[Key | None, Key | None]:
    return (
        find_half(connection, object_id, ObjectClass.PRIVATE_KEY),
        find_half(connection, object_id, ObjectClass.PUBLIC_KEY),
    )


def find_half(connection: Connection, object_id: bytes, object_class: ObjectClass) -> Key | None:
    """The one lasting key of this class and CKA_ID, or None. Raises `key.ambiguous`."""
    search = {Attribute.CLASS: object_class, Attribute.TOKEN: True, Attribute.ID: object_id}
    found = [item for item in connection.hsm_session.get_objects(search) if isinstance(item, Key)]
    if len(found) > 1:
        raise KmsError(
            Code.KEY_AMBIGUOUS,
            f"{len(found)} keys in the HSM have object id {object_id.hex().upper()}; none is used until one is left",
        )
    return found[0] if found else None


def _generate(connection: Connection, object_id: bytes, label: str, purpose: PlatformKeyPurpose) -> None:
    private, public = connection.fit(PAIRS[purpose].private), connection.fit(PAIRS[purpose].public)
    capabilities = private.capabilities | public.capabilities
    if purpose is not PlatformKeyPurpose.TRANSPORT:
        curve = connection.hsm_session.create_domain_parameters(
            TokenKeyType.EC, {Attribute.EC_PARAMS: P256}, local=True
        )
        curve.generate_keypair(
            id=object_id,
            label=label,
            store=True,
            capabilities=capabilities,
            mechanism=Mechanism.EC_KEY_PAIR_GEN,
            public_template=dict(public.attributes),
            private_template=dict(private.attributes),
        )
        return
    connection.hsm_session.generate_keypair(
        TokenKeyType.RSA,
        RSA_BITS,
        id=object_id,
        label=label,
        store=True,
        capabilities=capabilities,
        mechanism=Mechanism.RSA_PKCS_KEY_PAIR_GEN,
        public_template={Attribute.PUBLIC_EXPONENT: RSA_EXPONENT, **public.attributes},
        private_template=dict(private.attributes),
    )


def _check_pair(connection: Connection, private: Key, public: Key, purpose: PlatformKeyPurpose) -> bytes:
    """Compare both halves' attributes; the public half, DER."""
    if not isinstance(private, PrivateKey) or not isinstance(public, PublicKey):
        raise KmsError(Code.KEY_ATTRIBUTES, "the HSM holds something else than a key pair under this object id")
    check_attributes(private, PAIRS[purpose].private)
    check_attributes(public, PAIRS[purpose].public)
    if not connection.is_made_here(private):
        raise KmsError(Code.KEY_ATTRIBUTES, "the private half of this key pair was not made in the HSM; it is not used")
    if purpose is not PlatformKeyPurpose.TRANSPORT:
        return build_signing_key(public[Attribute.EC_POINT])
    return build_transport_key(public[Attribute.MODULUS], public[Attribute.PUBLIC_EXPONENT])


def _build_missing(object_id: bytes) -> KmsError:
    return KmsError(
        Code.KEY_MISSING, f"no key pair with object id {object_id.hex().upper()} in the HSM; is this the right token?"
    )
