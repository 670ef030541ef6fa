"""SCP03 composed of the key port, on the software fake and each make of token, against a card written from the text.

The static keys are derived inside the port from a master whose value the test knows.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from kms.card.apdu import CommandApdu, ResponseApdu, parse_response
from kms.card.channel import ChannelParameters, SecurityLevel, open_channel, parse_initialize_update, resume_channel
from kms.card.diversification import build_kdf3_blocks
from kms.card.key_sets import compute_kcv, derive_static_key, gp_kcv_method
from kms.card.keys import Diversification, KeyPort, KeyRole, KeySetRef, KeyType, KeyUse, VendorKeys
from tests.contract.test_key_port import AES_ID, AES_MASTER, AES_REF, mac, open_loaded_vault, with_odd_parity
from tests.contract.tokens import MAKES, TokenFactory, TokenMake
from tests.fakes.scp03_card import Scp03Card, kdf
from tests.fakes.software_keys import open_software_scope

OpenScope = Callable[[], AbstractContextManager[KeyPort]]
KDD = bytes(range(10))
ISD = bytes.fromhex("A000000151000000")
SOURCE = VendorKeys(AES_REF, Diversification.KDF3, KDD)
AES_TYPES = (KeyType.AES128, KeyType.AES192, KeyType.AES256)


@pytest.fixture(scope="module", params=["software", *MAKES])
def open_scope(request: pytest.FixtureRequest, factories: Callable[[TokenMake], TokenFactory]) -> Iterator[OpenScope]:
    if request.param == "software":
        yield lambda: open_software_scope({AES_ID: AES_MASTER})
        return
    vault = open_loaded_vault(factories(MAKES[request.param]))
    yield vault.open_scope
    vault.close()


def value_of(role: KeyRole, key_type: KeyType) -> bytes:
    blocks = build_kdf3_blocks(KDD, role, key_type)
    return b"".join(mac(AES_MASTER, block) for block in blocks)[: key_type.length]


def card_of(key_type: KeyType, i: int) -> Scp03Card:
    enc, mac_key, dek = (value_of(role, key_type) for role in KeyRole)
    size = 16 if i & 1 else 8
    challenge = kdf(enc, 0x02, bytes([0, 0, 7]) + ISD, 8 * size) if i & 0x10 else b"\x3c" * size
    return Scp03Card((enc, mac_key, dek), i, b"\xa5" * size, challenge, 7)


@pytest.mark.parametrize("key_type", AES_TYPES)
@pytest.mark.parametrize(("i", "level"), [(0x00, 0x03), (0x70, 0x33), (0x71, 0x33)])
def test_a_channel_opens_wraps_and_reads_its_answers(
    open_scope: OpenScope, key_type: KeyType, i: int, level: int
) -> None:
    card = card_of(key_type, i)
    handshake = parse_initialize_update(card.initialize_update(KDD, 0x30), card.host_challenge, 3)
    parameters = ChannelParameters(3, i, SecurityLevel(level), ISD)
    commands = [CommandApdu(0x80, 0xCA, 0x00, 0xE0), CommandApdu(0x80, 0xE2, 0x88, 0x00, bytes(range(100)))]
    with open_scope() as keys:
        channel = open_channel(keys, KeySetRef(0x30, key_type, SOURCE), handshake, parameters)
        batch = [channel.external_authenticate(), *(channel.wrap(command) for command in commands)]
        state = channel.state()
    card.authenticate(batch[0].to_bytes())
    answers = []
    for sent, command in zip(batch[1:], commands, strict=True):
        assert card.receive(sent.to_bytes()) == command.to_bytes()
        answers.append(card.answer(b"\x01\x02\x03" * 7, 0x9000))
    with open_scope() as keys:
        channel = resume_channel(keys, state)
        channel.unwrap(ResponseApdu(b"", 0x9000))
        assert [channel.unwrap(parse_response(answer)).data for answer in answers] == [b"\x01\x02\x03" * 7] * 2


@pytest.mark.parametrize("dek_type", AES_TYPES)
@pytest.mark.parametrize("key_type", list(KeyType))
def test_keys_of_every_type_go_under_the_static_dek(
    open_scope: OpenScope, dek_type: KeyType, key_type: KeyType
) -> None:
    card = card_of(dek_type, 0x60)
    handshake = parse_initialize_update(card.initialize_update(KDD, 0x30), card.host_challenge, 3)
    parameters = ChannelParameters(3, 0x60, SecurityLevel.C_MAC_C_DEC, ISD)
    blocks = (b"\x01" + bytes(15), b"\x02" + bytes(15))[: -(-key_type.length // 16)]
    with open_scope() as keys:
        channel = open_channel(keys, KeySetRef(0x30, dek_type, SOURCE), handshake, parameters)
        payload = keys.derive_cmac(keys.get_master(AES_REF), blocks, key_type, KeyUse.PAYLOAD)
        wrapped = channel.wrap_key(payload)
        kcv = compute_kcv(keys, payload, gp_kcv_method(key_type))
    assert len(wrapped) == -(-key_type.length // 16) * 16
    plain = Cipher(AES(value_of(KeyRole.DEK, dek_type)), modes.CBC(bytes(16))).decryptor().update(wrapped)
    found = plain[: key_type.length]
    value = b"".join(mac(AES_MASTER, block) for block in blocks)[: key_type.length]
    # A token may set the parity bits of a triple DES key, which no cipher looks at.
    assert found in {value, with_odd_parity(value)} if not key_type.is_aes else found == value
    algorithm = AES(value) if key_type.is_aes else TripleDES((value + value[:8])[:24])
    block = b"\x01" * 16 if key_type.is_aes else bytes(8)
    encryptor = Cipher(algorithm, modes.ECB()).encryptor()  # noqa: S305 - check values are defined by ECB
    assert kcv == encryptor.update(block)[:3]


@pytest.mark.parametrize("key_type", AES_TYPES)
def test_kdf3_makes_the_same_keys_everywhere(open_scope: OpenScope, key_type: KeyType) -> None:
    with open_scope() as keys:
        for role in KeyRole:
            made = derive_static_key(keys, KeySetRef(0x30, key_type, SOURCE), role, KeyUse.MAC)
            assert keys.cmac(made, b"any data") == mac(value_of(role, key_type), b"any data")
