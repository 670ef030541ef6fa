"""Replaces a card's key set on a token, with a mark in the PKCS#11 log before and after: a child process of its test.

Run as `python -m tests.contract.rotation PROTOCOL` with `HsmSettings` as JSON on standard input, behind pkcs11-spy.
"""

import json
import sys

from kms.card.channel import ChannelParameters, SecurityLevel
from kms.card.key_sets import derive_static_key
from kms.card.keys import DerivationPurpose, DerivedKeys, KcvMethod, KeyRole, KeySetRef, KeyType, KeyUse, MasterRef
from kms.card.programs.base import Candidate, Finished
from kms.card.programs.replace_keys import ReplaceKeys
from kms.card.programs.state import advance, dump_state, load_state, start
from kms.hsm.settings import HsmSettings
from kms.hsm.vault import TokenVault, open_vault
from terminal.virtual_card import VirtualCard, build_factory_state
from terminal.virtual_card.model import KEY_TYPE_AES, KEY_TYPE_DES
from tests.fakes.software_keys import SoftwareKey, check_value, open_software_scope

MARK = 7  # bytes of randomness: asked for nowhere else
ISD_AID = bytes.fromhex("A000000151000000")
OURS = bytes([0x33]) * 32
CHALLENGE = bytes(range(16))

# Key type, SCP, i, level. All with the least that DESIGN section 3 has by default: 03 and 33.
PROTOCOLS = {
    "scp02-i15": (KeyType.DES2, 2, 0x15, 0x03),
    "scp02-i55": (KeyType.DES2, 2, 0x55, 0x03),
    "scp03-aes128": (KeyType.AES128, 3, 0x70, 0x33),
    "scp03-aes256": (KeyType.AES256, 3, 0x70, 0x33),
    "scp03-aes128-s16": (KeyType.AES128, 3, 0x71, 0x33),
}


def import_master(vault: TokenVault) -> MasterRef:
    method = KcvMethod.AES_CMAC
    object_id, kcv = b"ours".ljust(16, b"."), check_value(OURS, KeyType.AES256, method)
    vault.import_master(
        object_id,
        "ours",
        key_type=KeyType.AES256,
        components=[bytearray(OURS)],
        expected_kcv=kcv,
        kcv_method=method,
    )
    return MasterRef(object_id, KeyType.AES256, kcv, method)


def compute_keys(ref: KeySetRef, master: MasterRef) -> tuple[bytes, bytes, bytes]:
    """What the token derives, as the card's personaliser put it on the card."""
    with open_software_scope({master.object_id: OURS}) as keys:
        made = [derive_static_key(keys, ref, role, KeyUse.DERIVE) for role in KeyRole]
        enc, mac, dek = (key.value for key in made if isinstance(key, SoftwareKey))
    return enc, mac, dek


def rotate(vault: TokenVault, card: VirtualCard, program: ReplaceKeys) -> None:
    """Run the program as a visit does: each step in a key scope of its own, its state as JSON in between."""
    card.reset()
    with vault.open_scope() as keys:
        step = start(program, keys, CHALLENGE, None)
    while step.outcome is None:
        assert step.state is not None
        assert step.batch is not None
        answers = [card.transmit(command) for command in step.batch.commands]
        with vault.open_scope() as keys:
            step = advance(load_state(dump_state(step.state)), answers, keys, CHALLENGE)
    assert isinstance(step.outcome, Finished), step.outcome


def main() -> None:
    settings = HsmSettings(**json.load(sys.stdin))
    key_type, scp, scp_i, level = PROTOCOLS[sys.argv[1]]
    vault = open_vault(settings)
    master = import_master(vault)
    first = 0x30 if key_type.is_aes else 0x20
    sets = []
    for generation in range(4):
        source = DerivedKeys(master, "issuer", DerivationPurpose.ISD, b"card", ISD_AID, generation)
        sets.append(Candidate(f"isd {generation}", KeySetRef(first + generation, key_type, source)))
    card = VirtualCard(
        build_factory_state(
            compute_keys(sets[0].ref, master),
            kvn=first,
            key_type=KEY_TYPE_AES if key_type.is_aes else KEY_TYPE_DES,
            scp02_i=None if key_type.is_aes else scp_i,
            scp03_i=scp_i if key_type.is_aes else None,
        )
    )
    parameters = ChannelParameters(scp, scp_i, SecurityLevel(level), ISD_AID)
    for old, new in ((0, 1), (1, 2)):  # the connection has then found its master and checked its templates
        rotate(vault, card, ReplaceKeys(parameters, sets[old], sets[new]))
    vault.random(MARK)
    rotate(vault, card, ReplaceKeys(parameters, sets[2], sets[3]))
    vault.random(MARK)
    vault.close()


if __name__ == "__main__":
    main()
