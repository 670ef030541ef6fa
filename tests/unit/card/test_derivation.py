"""Keys follow from the master keys exactly as docs/key-derivation.md says, by an independent SP 800-108."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kms.card.derivation import build_context, build_prf_blocks, derive_key
from kms.card.keys import DerivationPurpose, DerivedKeys, KeyRole, KeyType, KeyUse
from kms.errors import Code, KmsError
from tests.fakes.software_keys import SoftwareKeys, software_master
from tests.vectors.make_derivation import make

VECTORS_FILE = Path(__file__).parents[2] / "vectors" / "derivation.json"
VECTORS: list[dict[str, Any]] = json.loads(VECTORS_FILE.read_text())["vectors"]
MASTER_TYPES = {16: KeyType.AES128, 24: KeyType.AES192, 32: KeyType.AES256}

SOURCE = DerivedKeys(
    master=software_master(b"m", bytes(32), KeyType.AES256),
    platform="issuer-1",
    purpose=DerivationPurpose.SSD,
    card_identity=bytes(range(14)),
    aid=bytes.fromhex("A000000151000000"),
    generation=1,
)


def vector_source(vector: dict[str, Any]) -> DerivedKeys:
    master = bytes.fromhex(vector["master"])
    return DerivedKeys(
        master=software_master(b"m", master, MASTER_TYPES[len(master)]),
        platform=vector["platform"],
        purpose=DerivationPurpose(vector["purpose"]),
        card_identity=bytes.fromhex(vector["card_identity"]),
        aid=bytes.fromhex(vector["aid"]),
        generation=vector["generation"],
    )


@pytest.mark.parametrize("vector", VECTORS)
def test_the_derived_key_is_that_of_an_independent_sp_800_108(vector: dict[str, Any]) -> None:
    source, role, key_type = vector_source(vector), KeyRole(vector["role"]), KeyType(vector["key_type"])
    keys = SoftwareKeys({b"m": bytes.fromhex(vector["master"])})

    key = derive_key(keys, source, role, key_type, KeyUse.PAYLOAD)

    assert key == keys.load(bytes.fromhex(vector["key"]), key_type, KeyUse.PAYLOAD)
    assert build_context(source, role, key_type).hex() == vector["context"]
    assert keys.calls == {"get_master": 1, "derive_cmac": 1}


def test_the_vectors_are_what_their_script_makes() -> None:
    made = json.loads(make())
    assert made["vectors"] == VECTORS


def test_the_documents_worked_example_is_the_first_vector() -> None:
    document = (Path(__file__).parents[3] / "docs" / "key-derivation.md").read_text()
    example = "".join(document.split("```")[3].split())
    first = VECTORS[0]
    assert f"fixed{first['fixed']}PRFin01{first['fixed']}key{first['key']}" in example
    for vector in VECTORS[1:3]:
        assert f"| `{vector['fixed']}` | `{vector['key']}` |" in document


def test_no_two_vectors_share_a_key() -> None:
    assert len({vector["key"][:32] for vector in VECTORS}) == len(VECTORS)


def test_each_prf_input_is_one_block_and_their_number_is_the_keys() -> None:
    for key_type, count in [(KeyType.DES2, 1), (KeyType.AES192, 2), (KeyType.AES256, 2)]:
        blocks = build_prf_blocks(SOURCE, KeyRole.ENC, key_type)
        assert [len(block) for block in blocks] == [16] * count
        assert [block[0] for block in blocks] == list(range(1, count + 1))


def test_bytes_that_move_from_one_field_to_the_next_make_another_context() -> None:
    moved = replace(SOURCE, card_identity=SOURCE.card_identity + SOURCE.aid[:1], aid=SOURCE.aid[1:])
    assert build_context(moved, KeyRole.ENC, KeyType.DES2) != build_context(SOURCE, KeyRole.ENC, KeyType.DES2)


@pytest.mark.parametrize(
    "source",
    [
        replace(SOURCE, platform=""),
        replace(SOURCE, platform="x" * 65),
        replace(SOURCE, platform="Z\u00fcrich"),
        replace(SOURCE, platform="issuer\n"),
        replace(SOURCE, card_identity=b""),
        replace(SOURCE, card_identity=bytes(33)),
        replace(SOURCE, aid=bytes(4)),
        replace(SOURCE, aid=bytes(17)),
        replace(SOURCE, generation=-1),
        replace(SOURCE, generation=1 << 32),
    ],
)
def test_a_context_that_has_no_single_encoding_is_refused_before_the_token_is_asked(source: DerivedKeys) -> None:
    keys = SoftwareKeys({b"m": bytes(32)})
    with pytest.raises(KmsError) as caught:
        derive_key(keys, source, KeyRole.ENC, KeyType.DES2, KeyUse.DERIVE)
    assert caught.value.code is Code.INPUT_INVALID
    assert not keys.calls
