from dataclasses import replace

import pytest

from kms.card.keys import KeyType
from kms.errors import Code, KmsError
from kms.hsm.settings import HsmSettings
from kms.hsm.wrapping import WrapStrategy, build_plan, check_allowed, erase

LAB = HsmSettings("module", "label", "pin", allow_transient_plaintext=True, production=False)


def test_a_token_that_wraps_does_it_natively_whatever_is_allowed() -> None:
    plan = build_plan(LAB, "", "")
    assert (plan.des, plan.aes, plan.weakest) == (WrapStrategy.NATIVE,) * 3
    assert plan.reason == "3DES-ECB native; AES-CBC native"


def test_the_strategy_is_chosen_for_each_algorithm_and_says_why() -> None:
    plan = build_plan(LAB, "MechanismInvalid", "")
    assert plan.get_strategy(KeyType.DES2) is WrapStrategy.TRANSIENT
    assert plan.get_strategy(KeyType.AES128) is WrapStrategy.NATIVE
    assert plan.weakest is WrapStrategy.TRANSIENT
    assert "MechanismInvalid" in plan.reason


@pytest.mark.parametrize(
    "settings",
    [
        replace(LAB, allow_transient_plaintext=False),
        replace(LAB, production=True),
        HsmSettings("module", "label", "pin"),
    ],
    ids=["not allowed", "production", "defaults"],
)
def test_reading_keys_is_refused_unless_allowed_outside_production(settings: HsmSettings) -> None:
    plan = build_plan(settings, "MechanismInvalid", "")
    assert plan.des is plan.weakest is WrapStrategy.REFUSED
    with pytest.raises(KmsError, match="allow_transient_plaintext") as failure:
        check_allowed(plan.des)
    assert failure.value.code is Code.HSM_WRAP_REFUSED


@pytest.mark.parametrize("strategy", [WrapStrategy.NATIVE, WrapStrategy.TRANSIENT])
def test_allowed_strategies_pass(strategy: WrapStrategy) -> None:
    check_allowed(strategy)


def test_an_erased_value_is_gone() -> None:
    value = bytes(bytearray(range(1, 33)))
    erase(value)
    assert value == bytes(32)


def test_erasing_leaves_shared_one_byte_values_alone() -> None:
    value = bytes([0x41])  # an object that the whole interpreter shares
    erase(value)
    erase(b"")
    assert value.hex() == "41"
