"""`Vault.check_abilities` on each make: what works, what is refused, and nothing left behind."""

from dataclasses import replace

from pkcs11 import Attribute

from kms.hsm.gateway import Gateway
from kms.hsm.self_check import run_self_check
from kms.hsm.vault import open_vault
from tests.contract.tokens import SOFTHSM2, FreshToken


def test_what_each_make_does_and_what_it_refuses(gateway: Gateway, token: FreshToken) -> None:
    with gateway.connect() as connection:
        found = run_self_check(connection)
        assert list(connection.hsm_session.get_objects({})) == []
    refused = {step.name: step.refusal for step in found.steps if step.refusal}
    if token.make is SOFTHSM2:
        assert refused == {
            "C_WrapKey, 3DES of 3DES": "MechanismInvalid",
            "C_WrapKey, 3DES of AES": "MechanismInvalid",
        }
    else:
        # Whoever is logged in to NSS can wrap any key under one of their own: it is a token to test with.
        assert refused == {"CKA_EXTRACTABLE=false": "not enforced", "CKA_COPYABLE=false": "not enforced"}
    assert (found.des, found.aes) == (token.make.strategy, "native")
    assert found.list_missing(has_peers=True, production=False) == ()
    lacking = () if token.make is SOFTHSM2 else ("CKA_EXTRACTABLE=false",)
    assert found.list_missing(has_peers=True, production=True) == lacking


def test_where_nothing_may_be_read_the_strategy_says_so(token: FreshToken) -> None:
    vault = open_vault(replace(token.settings, allow_transient_plaintext=False))
    assert vault.check_abilities().des == ("native" if token.make.wraps_des else "refused")
    vault.close()


def test_it_leaves_no_object_of_its_own_on_the_token(gateway: Gateway) -> None:
    with gateway.connect() as connection:
        run_self_check(connection)
        assert list(connection.hsm_session.get_objects({Attribute.TOKEN: True})) == []
