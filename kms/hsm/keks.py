"""Peer KEKs in the token: made at one side, wrapped to the other's transport key, unwrapped there.

Rules: a KEK either wraps or unwraps, by side; it is never extractable as a lasting object. It is made as a session
object that can do nothing but be wrapped, is wrapped to the peer, and goes into its lasting object under a ferry key
that lives for this one call. The side that receives one compares its check value on a session object before it keeps
it, since it can never be destroyed again by the service's login.
"""

import hmac
from collections.abc import Iterator
from contextlib import contextmanager

from pkcs11 import Key, Mechanism, PublicKey, SecretKey
from pkcs11 import KeyType as TokenKeyType

from kms.card.keys import KcvMethod, KeyType
from kms.domain.public_keys import parse_transport_key
from kms.errors import Code, KmsError
from kms.hsm.connection import Connection
from kms.hsm.key_pairs import get_private_key
from kms.hsm.key_wrap import build_rsa_values, unwrap, wrap_by_aes, wrap_by_rsa
from kms.hsm.masters import (
    check_kcv,
    check_object_id,
    check_use,
    compute_kek_check_value,
    describe,
    find_object,
    get_object,
    load_master,
)
from kms.hsm.templates import (
    FERRY,
    NEW_KEK,
    PEER_TRANSPORT,
    TRANSPORT_PRIVATE,
    TRIAL_KEK,
    UNWRAPPING_KEK,
    WRAPPING_KEK,
    MasterUse,
    Template,
    build_public_template,
    check_attributes,
)
from kms.service.ports import NewKek, NewMaster

KEK_TYPE = KeyType.AES256


def generate_kek(connection: Connection, object_id: bytes, label: str, peer_transport_public: bytes) -> NewKek:
    """Generate the wrapping side's KEK. See `Vault.generate_kek`."""
    check_object_id(object_id)
    numbers = parse_transport_key(peer_transport_public)
    if find_object(connection, object_id) is not None:
        raise KmsError(
            Code.CONFLICT,
            f"object id {object_id.hex().upper()} is taken in the HSM, and a KEK that is there cannot be wrapped again",
        )
    template = build_public_template(PEER_TRANSPORT, build_rsa_values(numbers.n, numbers.e))
    with (
        _hold(connection.hsm_session.create_object(template), PEER_TRANSPORT) as transport,
        _hold(_generate(connection, NEW_KEK), NEW_KEK) as kek,
        _hold(_generate(connection, FERRY), FERRY) as ferry,
    ):
        if not (isinstance(transport, PublicKey) and isinstance(kek, SecretKey) and isinstance(ferry, SecretKey)):
            raise KmsError(Code.HSM_MECHANISM, "the HSM made something else than the keys asked for")
        wrapped = wrap_by_rsa(transport, kek, numbers.n.bit_length() // 8)
        ferried = wrap_by_aes(ferry, kek, KEK_TYPE.length)
        unwrap(
            connection,
            ferry,
            ferried,
            key_type=KEK_TYPE,
            template=connection.fit(WRAPPING_KEK),
            mechanism=Mechanism.AES_KEY_WRAP,
            object_id=object_id,
            label=label,
        )
    return NewKek(_take(connection, get_object(connection, object_id), object_id, MasterUse.WRAP_FOR_PEER), wrapped)


def unwrap_kek(
    connection: Connection,
    object_id: bytes,
    label: str,
    *,
    transport_object_id: bytes,
    wrapped: bytes,
    expected_kcv: bytes,
    now: float,
) -> NewMaster:
    """Make the unwrapping side's KEK. See `Vault.unwrap_kek`."""
    check_object_id(object_id)
    secret = find_object(connection, object_id)
    if secret is None:
        transport = get_private_key(connection, transport_object_id, TRANSPORT_PRIVATE, now)
        oaep = Mechanism.RSA_PKCS_OAEP
        trial = unwrap(connection, transport, wrapped, key_type=KEK_TYPE, template=TRIAL_KEK, mechanism=oaep)
        with _hold(trial, TRIAL_KEK):
            _check_trial(trial, expected_kcv)
        unwrap(
            connection,
            transport,
            wrapped,
            key_type=KEK_TYPE,
            template=connection.fit(UNWRAPPING_KEK),
            mechanism=oaep,
            object_id=object_id,
            label=label,
        )
        secret = get_object(connection, object_id)
    master = load_master(secret, object_id)
    check_use(master, MasterUse.UNWRAP_FROM_PEER)
    check_kcv(master, expected_kcv, KcvMethod.AES_CMAC)
    return describe(connection, master)


def _check_trial(trial: SecretKey, expected_kcv: bytes) -> None:
    if not hmac.compare_digest(compute_kek_check_value(trial), expected_kcv):
        raise KmsError(
            Code.KEY_KCV_MISMATCH,
            f"the KEK that was sent has another check value ({KcvMethod.AES_CMAC}) than announced; nothing was kept",
        )


def _generate(connection: Connection, template: Template) -> SecretKey:
    return connection.hsm_session.generate_key(
        TokenKeyType.AES,
        KEK_TYPE.length * 8,
        store=False,
        capabilities=template.capabilities,
        mechanism=Mechanism.AES_KEY_GEN,
        template=dict(template.attributes),
    )


@contextmanager
def _hold(key: object, template: Template) -> Iterator[Key]:
    """A session object with its attributes read back; it is destroyed at the end, whatever happens."""
    if not isinstance(key, Key):
        raise KmsError(Code.HSM_MECHANISM, "the HSM made something else than a key")
    try:
        check_attributes(key, template)
        yield key
    finally:
        key.destroy()


def _take(connection: Connection, secret: SecretKey, object_id: bytes, use: MasterUse) -> NewMaster:
    master = load_master(secret, object_id)
    check_use(master, use)
    return describe(connection, master)
