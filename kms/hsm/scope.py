"""One scope of key operations: what the core's `KeyPort` asks for, done in the token.

Rules: every key but a master is a session object that this scope made and destroys when it ends. A handle is refused in
another scope and after the connection was renewed. Its use is checked here, and by the token through the key's
attributes.
"""

from collections.abc import Sequence

from pkcs11 import Attribute, SecretKey

from kms.card.keys import CipherMode, KeyHandle, KeyType, KeyUse, MasterRef
from kms.errors import Code, KmsError
from kms.hsm import operations
from kms.hsm.cmac import BLOCK, build_k1, split_blocks, xor
from kms.hsm.connection import Connection
from kms.hsm.gateway import Gateway
from kms.hsm.handles import Recipe, TokenKey
from kms.hsm.key_wrap import unwrap_by_aes, wrap_by_aes
from kms.hsm.masters import get_master
from kms.hsm.mechanisms import get_block_length
from kms.hsm.readable import read_chain_blocks, read_zero_block
from kms.hsm.templates import (
    PADDED_PAYLOAD,
    PADDED_READABLE,
    MasterUse,
    Template,
    check_attributes,
    get_session_template,
    get_unwrapped_template,
)
from kms.hsm.wrapping import WrapStrategy, check_allowed, erase

_WRAP_MODES = {True: CipherMode.CBC, False: CipherMode.ECB}  # by is_aes: SCP03 wraps by CBC, SCP02 by ECB
_PADDED_LENGTH = 2 * BLOCK  # of a 24-byte key that an AES key wraps


class TokenScope:
    """A `KeyPort` over one token; `close` destroys what it made."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._made: list[TokenKey] = []
        self._subkeys: dict[TokenKey, bytes] = {}
        self._generation: int | None = None
        self._closed = False

    def get_master(self, ref: MasterRef) -> TokenKey:
        """See `KeyPort.get_master`."""
        try:
            return self._get_master(ref)
        except KmsError as error:
            # A scope that holds no key yet loses nothing when the connection is opened anew: look once more.
            if error.code is not Code.HSM_UNAVAILABLE or self._generation is not None:
                raise
        return self._get_master(ref)

    def derive_des(self, parent: KeyHandle, mode: CipherMode, data: bytes, key_type: KeyType, use: KeyUse) -> TokenKey:
        """See `KeyPort.derive_des`."""
        key = self._check_handle(parent, KeyUse.DERIVE)
        if key.key_type.is_aes or key_type.is_aes:
            raise _build_refusal("derive_des makes triple DES keys from triple DES keys")
        if len(data) != key_type.length:
            raise _build_refusal(f"{len(data)} bytes of data cannot make a {key_type} key")
        with self._gateway.connect(key.generation) as connection:
            return self._derive(connection, key, mode, data, key_type=key_type, use=use)

    def derive_cmac(self, parent: KeyHandle, messages: tuple[bytes, ...], key_type: KeyType, use: KeyUse) -> TokenKey:
        """See `KeyPort.derive_cmac`. Messages of several blocks need a card's own key as parent, not a master."""
        key = self._check_handle(parent, KeyUse.DERIVE)
        _check_messages(key, messages, key_type)
        with self._gateway.connect(key.generation) as connection:
            # CMAC(m) of whole blocks is E(K, last block xor chain xor K1), NIST SP 800-38B section 6.2: ECB over the
            # mixed last blocks makes the key inside the token.
            k1, chains = self._read_cmac_state(connection, key, messages)
            data = b"".join(
                xor(xor(message[-BLOCK:], chain), k1) for message, chain in zip(messages, chains, strict=True)
            )
            return self._derive(connection, key, CipherMode.ECB, data, key_type=key_type, use=use)

    def encrypt(self, key: KeyHandle, mode: CipherMode, data: bytes, iv: bytes | None = None) -> bytes:
        """See `KeyPort.encrypt`."""
        own = self._check_handle(key, KeyUse.ENCRYPT, KeyUse.PAYLOAD)
        _check_blocks(own, mode, data, iv)
        if own.use is KeyUse.PAYLOAD and (mode is not CipherMode.ECB or len(data) != get_block_length(own.key_type)):
            raise _build_refusal("a payload key encrypts one block by ECB, for its check value")
        with self._gateway.connect(own.generation):
            return operations.encrypt(own.secret, own.key_type, mode, data, iv)

    def decrypt(self, key: KeyHandle, mode: CipherMode, data: bytes, iv: bytes | None = None) -> bytes:
        """See `KeyPort.decrypt`. AES alone: SCP02 has nothing to decipher."""
        own = self._check_handle(key, KeyUse.ENCRYPT)
        _check_blocks(own, mode, data, iv)
        with self._gateway.connect(own.generation):
            return operations.decrypt(own.secret, own.key_type, mode, data, iv)

    def cmac(self, key: KeyHandle, data: bytes) -> bytes:
        """See `KeyPort.cmac`."""
        own = self._check_handle(key, KeyUse.MAC)
        with self._gateway.connect(own.generation):
            return operations.compute_cmac(own.secret, data)

    def wrap(self, wrapping: KeyHandle, key: KeyHandle, mode: CipherMode) -> bytes:
        """See `KeyPort.wrap`. Which key wraps decides on the strategy."""
        by = self._check_handle(wrapping, KeyUse.WRAP)
        payload = self._check_handle(key, KeyUse.PAYLOAD)
        if mode is not _WRAP_MODES[by.key_type.is_aes]:
            raise _build_refusal("a triple DES key wraps by DES3-ECB, an AES key by AES-CBC")
        with self._gateway.connect(by.generation) as connection:
            strategy = connection.plan.get_strategy(by.key_type)
            check_allowed(strategy)
            secret, length = self._get_wrappable(connection, by, payload, strategy)
            return operations.wrap(by.secret, by.key_type, payload=secret, length=length, mode=mode, strategy=strategy)

    def wrap_for_peer(self, kek: KeyHandle, key: KeyHandle) -> bytes:
        """See `KeyPort.wrap_for_peer`. The token does it by itself, whatever the strategy for wrapping to cards is."""
        by = self._check_handle(kek, MasterUse.WRAP_FOR_PEER)
        payload = self._check_handle(key, KeyUse.PAYLOAD)
        with self._gateway.connect(by.generation):
            return wrap_by_aes(by.secret, payload.secret, payload.key_type.length)

    def unwrap(self, kek: KeyHandle, wrapped: bytes, key_type: KeyType, use: KeyUse) -> TokenKey:
        """See `KeyPort.unwrap`."""
        by = self._check_handle(kek, MasterUse.UNWRAP_FROM_PEER)
        if use is KeyUse.PAYLOAD:
            raise _build_refusal("a key that was handed over never leaves this HSM again")
        with self._gateway.connect(by.generation) as connection:
            strategy = connection.plan.get_strategy(key_type)
            if use is KeyUse.WRAP:
                check_allowed(strategy)
            template = get_unwrapped_template(use, key_type, strategy)
            secret = unwrap_by_aes(connection, by.secret, wrapped, key_type=key_type, template=template)
            return self._keep(connection, secret, key_type, use, template)

    def close(self) -> None:
        """Destroy every session object this scope made. Objects of a lost connection died with it."""
        self._closed = True
        self._subkeys.clear()
        if not self._made:
            return
        made, self._made = self._made, []
        try:
            with self._gateway.connect(self._generation):
                for key in reversed(made):
                    key.secret.destroy()
        except KmsError as error:
            if error.code is not Code.HSM_UNAVAILABLE:
                # What could not be destroyed must not live on in the session: a new connection ends them all.
                self._gateway.lose("a session object could not be destroyed")

    def _get_master(self, ref: MasterRef) -> TokenKey:
        self._check_open()
        with self._gateway.connect(self._generation) as connection:
            connection.check_mechanisms()
            master = get_master(connection, ref, self._gateway.now())
            if master.use is not MasterUse.DERIVE:
                connection.check_peer_mechanisms()
            self._generation = connection.generation
            use = KeyUse.DERIVE if master.use is MasterUse.DERIVE else master.use
            return TokenKey(master.key_type, use, connection.generation, self, master.secret, master.object_id)

    def _derive(
        self, connection: Connection, parent: TokenKey, mode: CipherMode, data: bytes, *, key_type: KeyType, use: KeyUse
    ) -> TokenKey:
        strategy = connection.plan.get_strategy(key_type)
        if use is KeyUse.WRAP:
            check_allowed(strategy)
        if use is KeyUse.PAYLOAD and strategy is WrapStrategy.REFUSED:
            strategy = WrapStrategy.NATIVE  # no key is made readable that may not be read; `wrap` decides
        template = get_session_template(use, key_type, strategy)
        secret = operations.derive(parent.secret, parent.key_type, mode, data, key_type=key_type, template=template)
        recipe = Recipe(parent, mode, data) if use is KeyUse.PAYLOAD else None
        return self._keep(connection, secret, key_type, use, template, recipe=recipe)

    def _get_wrappable(
        self, connection: Connection, by: TokenKey, payload: TokenKey, strategy: WrapStrategy
    ) -> tuple[SecretKey, int]:
        """The object to wrap and its length: the payload itself, or the same value made in the form that is needed."""
        length = payload.key_type.length
        if by.key_type.is_aes and length % BLOCK:
            # AES-CBC wraps whole blocks (SoftHSM2 fails on 24 bytes): both CMACs that made the key, uncut.
            template = PADDED_PAYLOAD if strategy is WrapStrategy.NATIVE else PADDED_READABLE
            return self._derive_again(connection, payload, KeyType.AES256, template), _PADDED_LENGTH
        if strategy is WrapStrategy.TRANSIENT and not payload.is_readable:
            template = get_session_template(KeyUse.PAYLOAD, payload.key_type, strategy)
            return self._derive_again(connection, payload, payload.key_type, template), length
        return payload.secret, length

    def _derive_again(
        self, connection: Connection, payload: TokenKey, key_type: KeyType, template: Template
    ) -> SecretKey:
        recipe = payload.recipe
        if recipe is None or len(recipe.data) < key_type.length:
            raise _build_refusal(f"this {payload.key_type} key cannot be wrapped under a key of the other algorithm")
        parent = recipe.parent
        secret = operations.derive(
            parent.secret, parent.key_type, recipe.mode, recipe.data, key_type=key_type, template=template
        )
        return self._keep(connection, secret, key_type, KeyUse.PAYLOAD, template).secret

    def _keep(
        self,
        connection: Connection,
        secret: SecretKey,
        key_type: KeyType,
        use: KeyUse,
        template: Template,
        *,
        recipe: Recipe | None = None,
    ) -> TokenKey:
        """The handle of a session object, which `close` destroys; its attributes are read back once per connection."""
        readable = not template.attributes[Attribute.SENSITIVE]
        key = TokenKey(key_type, use, connection.generation, self, secret, recipe=recipe, is_readable=readable)
        self._made.append(key)
        if template.name not in connection.checked_templates:
            check_attributes(secret, template)
            connection.checked_templates.add(template.name)
        return key

    def _read_cmac_state(
        self, connection: Connection, parent: TokenKey, messages: tuple[bytes, ...]
    ) -> tuple[bytes, Sequence[bytes]]:
        """The subkey K1 and each message's chaining value before its last block, in as few calls as can be."""
        if parent.object_id:
            master = connection.masters.get(parent.object_id)
            if master is None:
                raise _build_refusal("this master was found changed since it was looked up; `kms hsm objects` says how")
            if master.k1 is None:
                master.k1 = _build_subkey(read_zero_block(master.secret))
            return master.k1, [bytes(BLOCK)] * len(messages)
        k1 = self._subkeys.get(parent)
        chains = [bytes(BLOCK)] * len(messages)
        depth = max(len(message) for message in messages) // BLOCK - 1
        for step in range(depth):
            going = [i for i, message in enumerate(messages) if len(message) // BLOCK - 1 > step]
            blocks = b"".join(xor(split_blocks(messages[i])[step], chains[i]) for i in going)
            # One reading gives the chaining values of all messages, and the first of them K1 as well.
            values = split_blocks(read_chain_blocks(parent.secret, blocks if k1 is not None else bytes(BLOCK) + blocks))
            if k1 is None:
                k1, values = build_k1(values[0]), values[1:]
            for i, value in zip(going, values, strict=True):
                chains[i] = value
        if k1 is None:
            k1 = _build_subkey(read_zero_block(parent.secret))
        self._subkeys[parent] = k1
        return k1, chains

    def _check_handle(self, key: KeyHandle, *uses: KeyUse | MasterUse) -> TokenKey:
        self._check_open()
        if not isinstance(key, TokenKey) or key.scope is not self:
            raise _build_refusal("the key handle belongs to another scope")
        if key.use not in uses:
            raise _build_refusal(f"a key for {key.use} cannot be used for {' or '.join(uses)}")
        return key

    def _check_open(self) -> None:
        if self._closed:
            raise KmsError(Code.HSM_UNAVAILABLE, "the key scope is closed; open a new one")


def _build_subkey(zero_block: bytes) -> bytes:
    k1 = build_k1(zero_block)
    erase(zero_block)
    return k1


def _check_messages(parent: TokenKey, messages: tuple[bytes, ...], key_type: KeyType) -> None:
    if not parent.key_type.is_aes:
        raise _build_refusal("derive_cmac needs an AES parent")
    if len(messages) != -(-key_type.length // BLOCK) or any(not m or len(m) % BLOCK for m in messages):
        raise _build_refusal(f"{len(messages)} messages of whole blocks cannot make a {key_type} key")
    if parent.object_id and any(len(message) != BLOCK for message in messages):
        # A chaining value would be a readable E(master, chosen block): exactly what a PRF output is.
        raise _build_refusal("a master derives from messages of one block alone")


def _check_blocks(key: TokenKey, mode: CipherMode, data: bytes, iv: bytes | None) -> None:
    size = get_block_length(key.key_type)
    if not data or len(data) % size:
        raise _build_refusal(f"{len(data)} bytes are no whole blocks of {size}")
    if iv is not None and (mode is CipherMode.ECB or len(iv) != size):
        raise _build_refusal("an initialisation vector is one block and goes with CBC alone")


def _build_refusal(what: str) -> KmsError:
    return KmsError(Code.KEY_ATTRIBUTES, what)
