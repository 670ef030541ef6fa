from datetime import timedelta
from functools import partial

import pytest

from kms.domain.updates import OPEN_STATES, UpdateReason, UpdateState, allow_past_end, cancel_update
from kms.errors import Code, KmsError
from tests.fakes.records import NOW, build_update


@pytest.mark.parametrize("state", list(UpdateState))
def test_only_an_open_update_is_overdue_cancelled_or_allowed(state: UpdateState) -> None:
    update = build_update(state=state, deadline=NOW)
    assert update.is_overdue(NOW) is (state in OPEN_STATES)
    assert not update.is_overdue(NOW - timedelta(seconds=1))
    if state in OPEN_STATES:
        assert cancel_update(update, NOW, "enough").state is UpdateState.CANCELLED
        assert allow_past_end(update, "cli:officer", "was abroad").past_end_reason == "cli:officer: was abroad"
        return
    changes = (partial(cancel_update, update, NOW, "enough"), partial(allow_past_end, update, "a", "b"))
    for change in changes:
        with pytest.raises(KmsError) as error:
            change()
        assert error.value.code is Code.CONFLICT


def test_an_update_without_a_deadline_is_never_overdue() -> None:
    assert not build_update(deadline=None).is_overdue(NOW + timedelta(days=9999))


def test_nobody_allows_a_channel_under_compromised_keys() -> None:
    with pytest.raises(KmsError) as error:
        allow_past_end(build_update(reason=UpdateReason.COMPROMISE), "cli:officer", "please")
    assert error.value.code is Code.KEY_STATE
