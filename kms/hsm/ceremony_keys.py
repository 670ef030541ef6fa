"""Keys of a ceremony in the token: its own key pair, and the key that the ceremony makes until it is in force.

Rules: whatever a ceremony has not finished exists only wrapped to the ceremony's key pair (RSA 3072, OAEP), whose
private half unwraps, never leaves the token and, unlike all other lasting keys, may be destroyed by the service's
login: with it goes everything that the ceremony had begun, in every copy of the database (docs/adr/0116). A new key is
a session object that can do nothing but be wrapped. Key components become readable in one function alone, which runs
in a process of its own that ends (docs/adr/0117): SoftHSM2 cannot XOR inside.
"""

import hmac
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from pkcs11 import Attribute, Mechanism, ObjectClass, PrivateKey, PublicKey, SecretKey
from pkcs11 import KeyType as TokenKeyType

from kms.card.keys import KcvMethod, KeyType, MasterRef
from kms.domain.public_keys import build_transport_key, parse_transport_key
from kms.errors import Code, KmsError
from kms.hsm.connection import Connection
from kms.hsm.faults import ConnectionLostError
from kms.hsm.gateway import Gateway
from kms.hsm.key_pairs import RSA_BITS, RSA_EXPONENT, find_half
from kms.hsm.key_wrap import build_rsa_values, unwrap, wrap_by_aes, wrap_by_rsa
from kms.hsm.masters import (
    check_absence,
    check_components,
    check_kcv,
    check_object_id,
    check_parts,
    check_use,
    combine,
    describe,
    find_object,
    get_master,
    get_method_for_people,
    get_object,
    load_master,
)
from kms.hsm.readable import read_check_value
from kms.hsm.templates import (
    CEREMONY_PRIVATE,
    CEREMONY_PUBLIC,
    MASTER_TEMPLATES,
    NEW_KEK,
    PEER_TRANSPORT,
    READABLE,
    TRIAL,
    MasterUse,
    Template,
    build_public_template,
    build_value_template,
    check_attributes,
)
from kms.hsm.wrapping import erase
from kms.service.ceremonies.ports import LastingUse, SealedKey
from kms.service.ports import NewMaster

_OAEP = Mechanism.RSA_PKCS_OAEP
_USES = {
    LastingUse.MASTER: MasterUse.DERIVE,
    LastingUse.BACKING_UP: MasterUse.WRAP_FOR_PEER,
    LastingUse.OPENING: MasterUse.UNWRAP_FROM_PEER,
}


class TokenCeremonyKeys:
    """`kms.service.ceremonies.ports.CeremonyKeys` over one token."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def make_pair(self, object_id: bytes, label: str) -> bytes:
        """See `CeremonyKeys.make_pair`."""
        with self._gateway.connect() as connection:
            connection.check_peer_mechanisms()
            return make_pair(connection, object_id, label)

    def remove_pair(self, object_id: bytes) -> None:
        """See `CeremonyKeys.remove_pair`."""
        with self._gateway.connect() as connection:
            remove_pair(connection, object_id, self._gateway.now())

    def generate(self, public_key_der: bytes, pair_id: bytes) -> SealedKey:
        """See `CeremonyKeys.generate`."""
        with self._gateway.connect() as connection:
            connection.check_peer_mechanisms()
            with _hold(_generate(connection), NEW_KEK) as new:
                return seal(connection, new, KeyType.AES256, public_key_der, pair_id)

    def combine(
        self,
        public_key_der: bytes,
        pair_id: bytes,
        key_type: KeyType,
        wrapped: Sequence[bytes],
        expected: tuple[KcvMethod, bytes] | None,
    ) -> SealedKey:
        """See `CeremonyKeys.combine`."""
        with self._gateway.connect() as connection:
            connection.check_peer_mechanisms()
            return combine_sealed(connection, public_key_der, pair_id, key_type, wrapped=wrapped, expected=expected)

    def create(self, sealed: SealedKey, pair_id: bytes, object_id: bytes, label: str, *, use: LastingUse) -> NewMaster:
        """See `CeremonyKeys.create`."""
        with self._gateway.connect() as connection:
            connection.check_peer_mechanisms()
            return create(connection, sealed, pair_id, object_id, label=label, use=_USES[use])

    def back_up(self, sealed: SealedKey, pair_id: bytes, backup_key: MasterRef) -> bytes:
        """See `CeremonyKeys.back_up`."""
        with self._gateway.connect() as connection:
            kek = get_master(connection, backup_key, self._gateway.now())
            check_use(kek, MasterUse.WRAP_FOR_PEER)
            with _hold(_open(connection, pair_id, sealed.wrapped, sealed.key_type, NEW_KEK), NEW_KEK) as key:
                return wrap_by_aes(kek.secret, key, sealed.key_type.length)

    def reseal(self, sealed: SealedKey, pair_id: bytes, other_public_der: bytes) -> bytes:
        """See `CeremonyKeys.reseal`."""
        with self._gateway.connect() as connection:
            new = _open(connection, pair_id, sealed.wrapped, sealed.key_type, NEW_KEK)
            with _hold(new, NEW_KEK) as key:
                return _wrap_to(connection, key, other_public_der)

    def prove(
        self, backup: bytes, backup_key: MasterRef, key_type: KeyType, method: KcvMethod, expected: bytes
    ) -> None:
        """See `CeremonyKeys.prove`."""
        with self._gateway.connect() as connection:
            kek = get_master(connection, backup_key, self._gateway.now())
            check_use(kek, MasterUse.UNWRAP_FROM_PEER)
            trial = unwrap(
                connection, kek.secret, backup, key_type=key_type, template=TRIAL, mechanism=Mechanism.AES_KEY_WRAP
            )
            with _hold(trial, TRIAL) as key:
                _compare(read_check_value(key, key_type, method), expected)


def make_pair(connection: Connection, object_id: bytes, label: str) -> bytes:
    """Generate the ceremony's pair, or take up the one that is there; the public half (DER)."""
    check_object_id(object_id)
    if find_half(connection, object_id, ObjectClass.PRIVATE_KEY) is None:
        private, public = connection.fit(CEREMONY_PRIVATE), connection.fit(CEREMONY_PUBLIC)
        connection.hsm_session.generate_keypair(
            TokenKeyType.RSA,
            RSA_BITS,
            id=object_id,
            label=label,
            store=True,
            capabilities=private.capabilities | public.capabilities,
            mechanism=Mechanism.RSA_PKCS_KEY_PAIR_GEN,
            public_template={Attribute.PUBLIC_EXPONENT: RSA_EXPONENT, **public.attributes},
            private_template=dict(private.attributes),
        )
    key = find_half(connection, object_id, ObjectClass.PRIVATE_KEY)
    public_key = find_half(connection, object_id, ObjectClass.PUBLIC_KEY)
    if not isinstance(key, PrivateKey) or not isinstance(public_key, PublicKey):
        raise ConnectionLostError("a key pair that was just made is not there")
    check_attributes(key, CEREMONY_PRIVATE)
    return build_transport_key(public_key[Attribute.MODULUS], public_key[Attribute.PUBLIC_EXPONENT])


def remove_pair(connection: Connection, object_id: bytes, now: float) -> None:
    """Destroy both halves. Nothing there: nothing to do, once the token is known to have answered."""
    found = [find_half(connection, object_id, kind) for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY)]
    for key in found:
        if key is not None:
            key.destroy()
    if found[0] is None:
        check_absence(connection, now)


def combine_sealed(
    connection: Connection,
    public_key_der: bytes,
    pair_id: bytes,
    key_type: KeyType,
    *,
    wrapped: Sequence[bytes],
    expected: tuple[KcvMethod, bytes] | None,
) -> SealedKey:
    """XOR the components and wrap the result; the one function that reads components. See the module's rules."""
    components = [_read(connection, pair_id, item, key_type) for item in wrapped]
    value = b""
    try:
        check_components(components, key_type)
        value = combine(components)
        check_parts(key_type, value)
        new = connection.hsm_session.create_object(build_value_template(NEW_KEK, key_type, value))
    finally:
        erase(value)
        for component in components:
            component[:] = bytes(len(component))
    with _hold(new, NEW_KEK) as key:
        sealed = seal(connection, key, key_type, public_key_der, pair_id)
        if expected is not None:
            _compare(_find_check_value(connection, sealed, pair_id, expected[0]), expected[1])
    return sealed


def seal(connection: Connection, new: SecretKey, key_type: KeyType, public_key_der: bytes, pair_id: bytes) -> SealedKey:
    """Wrap a session object to the ceremony's pair, and find its check value from what was wrapped."""
    method = get_method_for_people(key_type)
    sealed = SealedKey(_wrap_to(connection, new, public_key_der), key_type, method, b"")
    return replace(sealed, kcv=_find_check_value(connection, sealed, pair_id, method))


def create(
    connection: Connection, sealed: SealedKey, pair_id: bytes, object_id: bytes, *, label: str, use: MasterUse
) -> NewMaster:
    """Make the lasting key, or take up the one of that id. Raises `key.kcv-mismatch`."""
    check_object_id(object_id)
    secret = find_object(connection, object_id)
    if secret is None:
        # Found out on a session object first: a lasting key can never be destroyed again by the service's login (R19).
        _compare(_find_check_value(connection, sealed, pair_id, sealed.kcv_method), sealed.kcv)
        template = connection.fit(MASTER_TEMPLATES[use])
        _open(connection, pair_id, sealed.wrapped, sealed.key_type, template, object_id=object_id, label=label)
        secret = get_object(connection, object_id)
    master = load_master(secret, object_id, sealed.key_type)
    check_use(master, use)
    if master.key_type is not sealed.key_type:
        raise KmsError(Code.KEY_ATTRIBUTES, f"object {object_id.hex().upper()} in the HSM is {master.key_type}")
    check_kcv(master, sealed.kcv, sealed.kcv_method)
    return describe(connection, master)


def _find_check_value(connection: Connection, sealed: SealedKey, pair_id: bytes, method: KcvMethod) -> bytes:
    with _hold(_open(connection, pair_id, sealed.wrapped, sealed.key_type, TRIAL), TRIAL) as trial:
        return read_check_value(trial, sealed.key_type, method)


def _compare(found: bytes, expected: bytes) -> None:
    if not hmac.compare_digest(found, expected):
        raise KmsError(
            Code.KEY_KCV_MISMATCH,
            "the key has another check value than expected; nothing was kept. Compare each component's check value"
            " with its paper, and enter the wrong one again",
        )


def _read(connection: Connection, pair_id: bytes, wrapped: bytes, key_type: KeyType) -> bytearray:
    private = _get_private(connection, pair_id)
    readable = unwrap(
        connection,
        private,
        wrapped,
        key_type=key_type,
        template=READABLE,
        mechanism=_OAEP,
    )
    with _hold(readable, READABLE) as key:
        value: bytes = key[Attribute.VALUE]
    component = bytearray(value)
    erase(value)
    return component


def _open(
    connection: Connection,
    pair_id: bytes,
    wrapped: bytes,
    key_type: KeyType,
    template: Template,
    *,
    object_id: bytes = b"",
    label: str = "",
) -> SecretKey:
    return unwrap(
        connection,
        _get_private(connection, pair_id),
        wrapped,
        key_type=key_type,
        template=template,
        mechanism=_OAEP,
        object_id=object_id,
        label=label,
    )


def _get_private(connection: Connection, pair_id: bytes) -> PrivateKey:
    key = find_half(connection, pair_id, ObjectClass.PRIVATE_KEY)
    if not isinstance(key, PrivateKey):
        raise KmsError(
            Code.KEY_MISSING, f"the ceremony's key pair {pair_id.hex().upper()} is not in the HSM: abort the ceremony"
        )
    check_attributes(key, CEREMONY_PRIVATE)
    return key


def _wrap_to(connection: Connection, key: SecretKey, public_key_der: bytes) -> bytes:
    numbers = parse_transport_key(public_key_der)
    template = build_public_template(PEER_TRANSPORT, build_rsa_values(numbers.n, numbers.e))
    public = connection.hsm_session.create_object(template)
    try:
        if not isinstance(public, PublicKey):
            raise KmsError(Code.HSM_MECHANISM, "the HSM made something else than a public key")
        check_attributes(public, PEER_TRANSPORT)
        return wrap_by_rsa(public, key, numbers.n.bit_length() // 8)
    finally:
        public.destroy()


def _generate(connection: Connection) -> SecretKey:
    return connection.hsm_session.generate_key(
        TokenKeyType.AES,
        KeyType.AES256.length * 8,
        store=False,
        capabilities=NEW_KEK.capabilities,
        mechanism=Mechanism.AES_KEY_GEN,
        template=dict(NEW_KEK.attributes),
    )


@contextmanager
def _hold(key: object, template: Template) -> Iterator[SecretKey]:
    """A session object with its attributes read back; it is destroyed at the end, whatever happens."""
    if not isinstance(key, SecretKey):
        raise KmsError(Code.HSM_MECHANISM, "the HSM made something else than a secret key")
    try:
        check_attributes(key, template)
        yield key
    finally:
        key.destroy()
