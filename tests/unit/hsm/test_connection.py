from unittest.mock import create_autospec

import pytest
from pkcs11 import Attribute, SecretKey, Session, Token
from pkcs11.exceptions import GeneralError, ObjectHandleInvalid, PKCS11Error

from kms.card.keys import KeyType
from kms.errors import Code, KmsError
from kms.hsm.connection import Connection, LoadedMaster
from kms.hsm.wrapping import WrapPlan, WrapStrategy

PLAN = WrapPlan(WrapStrategy.NATIVE, WrapStrategy.NATIVE, "")


class Master(SecretKey):
    """A master's object in a token that may have forgotten it."""

    def __init__(self, *, forgotten: bool) -> None:
        self.forgotten = forgotten

    def get_attributes(self, keys: list[Attribute]) -> dict[Attribute, bytes]:
        if self.forgotten:
            raise ObjectHandleInvalid
        return dict.fromkeys(keys, b"")


def connect(*missing: str, token: Token | None = None) -> Connection:
    return Connection(1, 1, 0.0, token or create_autospec(Token), create_autospec(Session), ("AES_ECB",), missing, PLAN)


def test_a_token_without_a_needed_mechanism_is_not_used() -> None:
    connect().check_mechanisms()
    with pytest.raises(KmsError, match="AES_CMAC, DES3_ECB") as failure:
        connect("AES_CMAC", "DES3_ECB").check_mechanisms()
    assert failure.value.code is Code.HSM_MECHANISM


def test_a_token_that_answers_and_knows_its_keys_is_alive() -> None:
    connection = connect()
    connection.check_alive()
    connection.masters[b"id"] = LoadedMaster(b"id", KeyType.AES256, Master(forgotten=False))
    connection.check_alive()


def test_a_token_that_forgot_a_key_was_away() -> None:
    connection = connect()
    connection.masters[b"id"] = LoadedMaster(b"id", KeyType.AES256, Master(forgotten=True))
    with pytest.raises(PKCS11Error):
        connection.check_alive()


def test_a_token_that_gives_no_information_is_away() -> None:
    token = create_autospec(Token)
    token.slot.get_token.side_effect = GeneralError
    with pytest.raises(GeneralError):
        connect(token=token).check_alive()
