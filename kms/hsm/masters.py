"""Master keys in the token: found by object id, checked by type, attributes and check value, generated, imported.

Rules: labels are not unique and select nothing. A missing key is never answered by making one: a token that went away
and came back answers "not found", too. A key whose check value is not the expected one is not kept: the value is tried
as a session object first, since a master can never be destroyed again by the service's login (R19).
"""

import hmac
from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import pairwise

from pkcs11 import Attribute, ObjectClass, SecretKey
from pkcs11 import KeyType as TokenKeyType
from pkcs11.mechanisms import Mechanism

from kms.card.keys import KcvMethod, KeyType, MasterRef
from kms.errors import Code, KmsError
from kms.hsm.connection import Connection, LoadedMaster
from kms.hsm.faults import ConnectionLostError
from kms.hsm.mechanisms import TOKEN_TYPES
from kms.hsm.operations import compute_cmac
from kms.hsm.readable import KCV_LENGTH, read_check_value
from kms.hsm.templates import (
    MASTER,
    MASTER_TEMPLATES,
    TRIAL,
    MasterUse,
    build_value_template,
    check_attributes,
    find_master_use,
)
from kms.hsm.wrapping import erase
from kms.service.ports import NewMaster

OBJECT_ID_LENGTH = 16
MAX_COMPONENTS = 5

_WITHOUT_PARITY = 0xFEFE_FEFE_FEFE_FEFE  # the lowest bit of each byte of a DES key is no key bit

# After how long a master that a connection knows is looked up and checked anew: a deviation that a check of the whole
# token finds in one process is then noticed in all.
RECHECK_S = 300.0

# How old a connection may be to be believed when it says "no such key" and nothing else proves it alive.
FRESH_S = 1.0

_RECORDED = (
    Attribute.LABEL,
    Attribute.TOKEN,
    Attribute.PRIVATE,
    Attribute.SENSITIVE,
    Attribute.ALWAYS_SENSITIVE,
    Attribute.EXTRACTABLE,
    Attribute.NEVER_EXTRACTABLE,
    Attribute.MODIFIABLE,
    Attribute.COPYABLE,
    Attribute.DESTROYABLE,
    Attribute.LOCAL,
    Attribute.DERIVE,
    Attribute.ENCRYPT,
    Attribute.DECRYPT,
    Attribute.SIGN,
    Attribute.VERIFY,
    Attribute.WRAP,
    Attribute.UNWRAP,
)


def get_method_for_people(key_type: KeyType) -> KcvMethod:
    """The check value method shown to people: CMAC for AES (R14), zero encryption for triple DES."""
    return KcvMethod.AES_CMAC if key_type.is_aes else KcvMethod.DES_ZERO


def get_master(connection: Connection, ref: MasterRef, now: float) -> LoadedMaster:
    """Find a master and check it. No call when this connection has looked it up and checked it lately.

    Raises `key.missing`, `key.ambiguous`, `key.attributes`, `key.kcv-mismatch`; ConnectionLostError when "missing" may
    mean that the token was away. `now`: monotonic seconds.
    """
    master = connection.masters.get(ref.object_id)
    if master is not None and now - master.checked_at > RECHECK_S:
        del connection.masters[ref.object_id]
        master = None
    if master is None:
        secret = find_object(connection, ref.object_id)
        if secret is None:
            check_absence(connection, now)
            raise KmsError(
                Code.KEY_MISSING,
                f"no master key with object id {ref.object_id.hex().upper()} in the HSM; is this the right token?",
            )
        master = load_master(secret, ref.object_id, ref.key_type)
        master.checked_at = now
    if master.key_type is not ref.key_type:
        raise KmsError(
            Code.KEY_ATTRIBUTES,
            f"master key {ref.object_id.hex().upper()} is {master.key_type} in the HSM, not {ref.key_type} as recorded",
        )
    check_kcv(master, ref.kcv, ref.kcv_method)
    connection.masters[ref.object_id] = master
    return master


def find_object(connection: Connection, object_id: bytes) -> SecretKey | None:
    """The one secret key on the token with this CKA_ID, or None. Raises `key.ambiguous` when there are several."""
    search = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.TOKEN: True, Attribute.ID: object_id}
    found = list(connection.hsm_session.get_objects(search))
    if len(found) > 1:
        raise KmsError(
            Code.KEY_AMBIGUOUS,
            f"{len(found)} keys in the HSM have object id {object_id.hex().upper()}; none is used until one is left",
        )
    if not found:
        return None
    if not isinstance(found[0], SecretKey):
        raise KmsError(Code.KEY_ATTRIBUTES, f"object {object_id.hex().upper()} in the HSM is not a secret key")
    return found[0]


def load_master(secret: SecretKey, object_id: bytes, recorded: KeyType | None = None) -> LoadedMaster:
    """Check a found object against the template of its use and learn its type. Raises `key.attributes`.

    `recorded`: the AES type taken where the token does not keep CKA_VALUE_LEN of a key that was unwrapped (SoftHSM2
    gives 0); the check value says whether it is right.
    """
    use = find_master_use(secret)
    check_attributes(secret, MASTER_TEMPLATES[use])
    found = secret.get_attributes([Attribute.KEY_TYPE, Attribute.VALUE_LEN])
    if use is not MasterUse.DERIVE:
        return _load_kek(secret, object_id, use, found)
    if (
        recorded is not None
        and recorded.is_aes
        and found[Attribute.KEY_TYPE] is TokenKeyType.AES
        and not found.get(Attribute.VALUE_LEN)
    ):
        return LoadedMaster(object_id, recorded, secret)
    for key_type, token_type in TOKEN_TYPES.items():
        if found[Attribute.KEY_TYPE] is token_type and (
            not key_type.is_aes or found.get(Attribute.VALUE_LEN) == key_type.length
        ):
            return LoadedMaster(object_id, key_type, secret)
    raise KmsError(Code.KEY_ATTRIBUTES, f"master key {object_id.hex().upper()} is of a type that is not used here")


def _load_kek(secret: SecretKey, object_id: bytes, use: MasterUse, found: Mapping[Attribute, object]) -> LoadedMaster:
    # SoftHSM2 does not record CKA_VALUE_LEN of an unwrapped key and gives 0; a token that knows it must say 32.
    if found[Attribute.KEY_TYPE] is not TokenKeyType.AES or found.get(Attribute.VALUE_LEN) not in {
        None,
        0,
        KeyType.AES256.length,
    }:
        raise KmsError(Code.KEY_ATTRIBUTES, f"key {object_id.hex().upper()} is no AES-256 key")
    return LoadedMaster(object_id, KeyType.AES256, secret, use=use)


def check_kcv(master: LoadedMaster, expected: bytes, method: KcvMethod) -> None:
    """Raise `key.kcv-mismatch` unless the key in the token has this check value."""
    found = master.check_values.get(method)
    if found is None:
        found = _compute_check_value(master, method)
        master.check_values[method] = found
    if not hmac.compare_digest(found, expected):
        raise KmsError(
            Code.KEY_KCV_MISMATCH,
            f"master key {master.object_id.hex().upper()} in the HSM has another check value ({method}) than recorded;"
            " it is not used",
        )


def compute_kek_check_value(secret: SecretKey) -> bytes:
    """The CMAC check value of a KEK, 5 bytes: it may sign, and not derive as masters do."""
    return compute_cmac(secret, bytes(16))[: KCV_LENGTH[KcvMethod.AES_CMAC]]


def _compute_check_value(master: LoadedMaster, method: KcvMethod) -> bytes:
    if master.use is MasterUse.DERIVE:
        return read_check_value(master.secret, master.key_type, method)
    if method is not KcvMethod.AES_CMAC:
        raise KmsError(Code.KEY_KCV_MISMATCH, f"a KEK's check value is by {KcvMethod.AES_CMAC}, not {method}")
    return compute_kek_check_value(master.secret)


def generate_master(
    connection: Connection, object_id: bytes, label: str, use: MasterUse = MasterUse.DERIVE
) -> NewMaster:
    """Generate an AES-256 key for one use, or take up the one of that id which a run that was cut off has made."""
    check_object_id(object_id)
    secret = find_object(connection, object_id)
    if secret is None:
        connection.hsm_session.generate_key(
            TokenKeyType.AES,
            256,
            id=object_id,
            label=label,
            store=True,
            capabilities=MASTER_TEMPLATES[use].capabilities,
            mechanism=Mechanism.AES_KEY_GEN,
            template=dict(connection.fit(MASTER_TEMPLATES[use]).attributes),
        )
        secret = get_object(connection, object_id)
    master = load_master(secret, object_id)
    check_use(master, use)
    if master.key_type is not KeyType.AES256 or not connection.is_made_here(secret):
        raise KmsError(
            Code.KEY_ATTRIBUTES, f"object {object_id.hex().upper()} is no AES-256 key generated in the HSM; not used"
        )
    return describe(connection, master)


def compute_mac(connection: Connection, ref: MasterRef, data: bytes, now: float) -> bytes:
    """AES-CMAC by a login key, 16 bytes. Raises as `get_master`; `key.attributes` for a key of another use."""
    master = get_master(connection, ref, now)
    check_use(master, MasterUse.MAC)  # a KEK may sign too, for its check value, and nothing else is signed by it
    return compute_cmac(master.secret, data)


def import_master(
    connection: Connection,
    object_id: bytes,
    label: str,
    *,
    key_type: KeyType,
    components: Sequence[bytearray],
    expected: tuple[KcvMethod, bytes],
) -> NewMaster:
    """Make a derive-only master out of key components. See `TokenVault.import_master`."""
    check_object_id(object_id)
    check_components(components, key_type)
    secret = find_object(connection, object_id)
    if secret is None:
        value = combine(components)
        try:
            check_parts(key_type, value)
            _try_value(connection, key_type, value, expected)
            template = build_value_template(connection.fit(MASTER), key_type, value, object_id, label)
            connection.hsm_session.create_object(template)
        finally:
            erase(value)
        secret = get_object(connection, object_id)
    master = load_master(secret, object_id)
    check_use(master, MasterUse.DERIVE)
    if master.key_type is not key_type:
        raise KmsError(Code.KEY_ATTRIBUTES, f"object {object_id.hex().upper()} is {master.key_type}, not {key_type}")
    check_kcv(master, expected[1], expected[0])
    return describe(connection, master)


def try_components(
    connection: Connection, key_type: KeyType, components: Sequence[bytearray], expected: tuple[KcvMethod, bytes]
) -> None:
    """Raise `key.kcv-mismatch` unless the components give the expected check value; the trial key is destroyed."""
    check_components(components, key_type)
    value = combine(components)
    try:
        check_parts(key_type, value)
        _try_value(connection, key_type, value, expected)
    finally:
        erase(value)


def check_use(master: LoadedMaster, use: MasterUse) -> None:
    """Raise `key.attributes` unless the key found is one for this use."""
    if master.use is not use:
        raise KmsError(
            Code.KEY_ATTRIBUTES,
            f"object {master.object_id.hex().upper()} in the HSM is a key to {master.use}, not {use}",
        )


def check_object_id(object_id: bytes) -> None:
    """Raise `input.invalid` unless the object id has its 16 bytes."""
    if len(object_id) != OBJECT_ID_LENGTH:
        raise KmsError(Code.INPUT_INVALID, f"an object id has {OBJECT_ID_LENGTH} bytes")


def check_components(components: Sequence[bytearray], key_type: KeyType) -> None:
    """Raise `input.invalid` unless there are 1 to 5 components of the key's full length (R4)."""
    if not 1 <= len(components) <= MAX_COMPONENTS:
        raise KmsError(Code.INPUT_INVALID, f"a key has 1 to {MAX_COMPONENTS} components, not {len(components)}")
    for number, component in enumerate(components, 1):
        if len(component) != key_type.length:
            raise KmsError(
                Code.INPUT_INVALID,
                f"component {number} has {len(component)} bytes, but each component of a {key_type} key has"
                f" {key_type.length}",
            )


def combine(components: Sequence[bytearray]) -> bytes:
    """The key: the XOR of its components. The caller erases it."""
    number = reduce(lambda total, component: total ^ int.from_bytes(component, "big"), components, 0)
    return number.to_bytes(len(components[0]), "big")


def check_parts(key_type: KeyType, value: bytes) -> None:
    """Raise `input.invalid` for a triple DES key that is single DES: two neighbouring parts are equal but for parity.

    Encrypting and decrypting under the same part cancel out (NIST SP 800-67): 56 bits are left.
    """
    if key_type.is_aes:
        return
    parts = [int.from_bytes(value[start : start + 8], "big") & _WITHOUT_PARITY for start in range(0, len(value), 8)]
    if any(left == right for left, right in pairwise(parts)):
        raise KmsError(
            Code.INPUT_INVALID,
            f"the components give a {key_type} key of equal parts, which is single DES; nothing was kept. Check that"
            " no component was entered twice, and ask the key's maker",
        )


def _try_value(connection: Connection, key_type: KeyType, value: bytes, expected: tuple[KcvMethod, bytes]) -> None:
    trial = connection.hsm_session.create_object(build_value_template(TRIAL, key_type, value))
    if not isinstance(trial, SecretKey):
        raise KmsError(Code.KEY_ATTRIBUTES, "the HSM made something else than a secret key")
    try:
        found = read_check_value(trial, key_type, expected[0])
    finally:
        trial.destroy()
    if not hmac.compare_digest(found, expected[1]):
        raise KmsError(
            Code.KEY_KCV_MISMATCH,
            f"the components give a key with another check value ({expected[0]}) than expected; nothing was kept."
            " Check each component and the check value, then enter them again",
        )


def get_object(connection: Connection, object_id: bytes) -> SecretKey:
    """The key that was just made under this object id. Raises `key.ambiguous`."""
    # Looked up again, not taken from the call that made it: so a second key of the same id is noticed at once.
    secret = find_object(connection, object_id)
    if secret is None:
        raise ConnectionLostError("a key that was just made is not there")
    return secret


def check_absence(connection: Connection, now: float) -> None:
    """Raise ConnectionLostError when "not found" may mean that the token was away. `now`: monotonic seconds."""
    connection.check_alive()
    if not connection.masters and now - connection.opened_at > FRESH_S:
        # Nothing proves that this connection still sees the token's objects; a new one does.
        raise ConnectionLostError("a key was not found by an old connection")


def describe(connection: Connection, master: LoadedMaster) -> NewMaster:
    """What there is to record of a key that was made: its check value for people, and its attributes read back."""
    method = get_method_for_people(master.key_type)
    if method not in master.check_values:
        master.check_values[method] = _compute_check_value(master, method)
    connection.masters[master.object_id] = master
    found = master.secret.get_attributes(list(_RECORDED))
    attributes = tuple((f"CKA_{name.name}", _show(found.get(name))) for name in _RECORDED)
    return NewMaster(master.object_id, master.check_values[method], attributes, method)


def _show(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "not supported" if value is None else str(value)
