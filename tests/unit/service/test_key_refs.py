import pytest

from kms.card.keys import DerivationPurpose, DerivedKeys, VendorKeys
from kms.domain.keys import MasterKind
from kms.errors import Code, KmsError
from kms.service.key_refs import build_candidate, build_master_ref
from tests.fakes.card_records import MASTERS, SSD, VENDOR_SET, build_record, ssd_set


def test_a_vendors_set_is_diversified_from_its_master_with_the_cards_data() -> None:
    record = build_record()
    candidate = build_candidate("issuer", record, VENDOR_SET)
    source = candidate.ref.source
    assert isinstance(source, VendorKeys)
    assert (source.scheme, source.kdd) == (record.card.diversification, record.card.kdd)
    assert (candidate.label, candidate.ref.kvn) == (VENDOR_SET.id, 0x01)


def test_our_set_is_derived_for_platform_purpose_card_domain_and_generation() -> None:
    record = build_record(ssd_set(5))
    source = build_candidate("issuer", record, ssd_set(5)).ref.source
    assert isinstance(source, DerivedKeys)
    assert (source.platform, source.purpose, source.generation) == ("issuer", DerivationPurpose.SSD, 5)
    assert (source.card_identity, source.aid) == (record.card.identity, SSD.aid)
    assert source.master == build_master_ref(MASTERS[MasterKind.SSD])


def test_a_set_of_a_master_that_is_not_on_record_is_refused() -> None:
    with pytest.raises(KmsError) as caught:
        build_candidate("issuer", build_record(), ssd_set(master_id="gone"))
    assert caught.value.code is Code.KEY_MISSING
