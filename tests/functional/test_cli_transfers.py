"""`kms transfers` on a database of its own, of either kind."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import Result

from kms.card.keys import KeyType
from kms.domain.transfers import Transfer, TransferReason, TransferSide, TransferState
from tests.fakes.installation import Installation, build_installation
from tests.fakes.records import NOW, build_card
from tests.fakes.stores import DATABASES, open_database

IDENTITY = build_card().identity
ASKED = Transfer(
    id="3f2b8f6e-0000-4000-8000-000000000001",
    side=TransferSide.ISSUER,
    peer="bank",
    reason=TransferReason.CREATE,
    card_identity=IDENTITY,
    aid=bytes.fromhex("A0000009520001"),
    privileges=b"\x80",
    key_type=KeyType.DES2,
    state=TransferState.REFUSED,
    requested_at=NOW,
    refusal="a later request took its place",
)
KEPT = Transfer(
    id="1d2b8f6e-0000-4000-8000-000000000002",
    side=TransferSide.PROVIDER,
    peer="telco",
    reason=TransferReason.REKEY,
    card_identity=b"\x01\x02\x03",
    aid=bytes.fromhex("A0000009520001"),
    privileges=b"\x80",
    key_type=KeyType.DES2,
    state=TransferState.HANDED_OVER,
    requested_at=NOW + timedelta(minutes=1),
    envelope="kept-wrapped-keys",
    handed_over_at=NOW + timedelta(minutes=2),
)


@pytest.fixture(params=DATABASES)
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    with open_database(request.param, tmp_path) as url:
        installation = build_installation(tmp_path, url)
        store = installation.open_store()
        with store.transaction() as transaction:
            transaction.transfers.add_all([ASKED, KEPT])
        store.dispose()
        yield installation


def list_ids(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return [row["id"] for row in json.loads(result.stdout)]


def test_transfers_of_both_sides_are_listed_the_newest_first(installation: Installation) -> None:
    assert list_ids(installation.run("transfers", "list", "--json")) == [KEPT.id, ASKED.id]
    assert list_ids(installation.run("transfers", "list", "--json", "--open")) == [KEPT.id]
    assert list_ids(installation.run("transfers", "list", "--json", "--peer", "bank")) == [ASKED.id]
    assert list_ids(installation.run("transfers", "list", "--json", "--card", IDENTITY.hex())) == [ASKED.id]
    shown = installation.run("transfers", "list").stdout
    assert "a later request took its place" in shown
    assert "HANDED_OVER" in shown


def test_one_transfer_is_shown_without_the_envelope_that_it_keeps(installation: Installation) -> None:
    shown = json.loads(installation.run("transfers", "show", KEPT.id, "--json").stdout)
    assert (shown["side"], shown["reason"], shown["envelope_kept"]) == ("provider", "rekey", True)
    for arguments in (("show", KEPT.id), ("show", KEPT.id, "--json"), ("list",), ("list", "--json")):
        assert "kept-wrapped-keys" not in installation.run("transfers", *arguments).stdout
    unknown = installation.run("transfers", "show", "nothing")
    assert unknown.exit_code != 0
    assert "transfer" in unknown.stderr
