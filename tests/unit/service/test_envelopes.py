from dataclasses import replace

import pytest

from kms.domain.hand_over import build_payload
from kms.domain.transfers import Envelope
from kms.errors import Code, KmsError
from kms.service.envelopes import dump_envelope, load_envelope
from tests.unit.domain.test_hand_over import GOOD


def test_a_kept_envelope_is_read_back_whole() -> None:
    envelope = Envelope(build_payload(GOOD), bytes(range(64)))
    assert load_envelope(dump_envelope(envelope)) == GOOD


@pytest.mark.parametrize(
    "text", ["", "{}", "null", '{"envelope": 1}', '{"envelope": {"payload": "", "signature": ""}}']
)
def test_what_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(KmsError) as error:
        load_envelope(text)
    assert error.value.code is Code.ENVELOPE_MALFORMED


def test_an_error_shows_nothing_of_what_was_kept() -> None:
    secret = build_payload(replace(GOOD, transfer_id="hidden-away"))[:-1]
    with pytest.raises(KmsError) as error:
        load_envelope(dump_envelope(Envelope(secret, bytes(64))))
    assert "hidden-away" not in str(error.value)
