import json
from datetime import timedelta

from kms.domain.cards import DomainKind
from kms.domain.policies import PolicyClass
from kms.domain.policy_text import build_policy_text, parse_policy_text
from kms.domain.policy_window import Weekday, Window
from tests.fakes.policies import build_policy
from tests.fakes.records import NOW

FULL = build_policy(
    applies_to=PolicyClass(DomainKind.SSD, b"\xa0\x00", "issuer", "B7"),
    window=Window((Weekday.SATURDAY, Weekday.SUNDAY), 22, 4),
    notice_days=(20, 2),
    valid_from=NOW,
    valid_until=NOW + timedelta(days=9),
)


def test_a_policy_comes_back_as_it_was() -> None:
    assert parse_policy_text(build_policy_text(FULL)) == FULL
    assert parse_policy_text(build_policy_text(build_policy())) == build_policy()


def test_what_another_version_of_the_program_wrote_is_read() -> None:
    raw = json.loads(build_policy_text(FULL))
    del raw["breaker_minimum"]
    raw["colour"] = "blue"
    assert parse_policy_text(json.dumps(raw)) == FULL
