"""Checkpoints cover what is committed, by the key that is due, and are anchored outside."""

from dataclasses import replace

import pytest

from kms.domain.audit import AuditEvent
from kms.domain.audit_check import Anchor
from kms.domain.audit_export import check_export
from kms.domain.keys import KeyState, PlatformKey, PlatformKeyPurpose
from kms.domain.signatures import fingerprint
from kms.errors import Code, KmsError
from kms.service.audit_log import AuditLogService
from kms.service.platform_keys import PlatformKeyService
from tests.fakes.master_vault import CutOffError, MasterVault
from tests.fakes.memory_store import MemoryStore
from tests.fakes.records import CountingIdentifiers, TickingClock


class AnchorList:
    """Remembers what is written; `broken` plays a full disk."""

    def __init__(self) -> None:
        self.written: list[Anchor] = []
        self.broken = False

    def write(self, platform: str, anchor: Anchor) -> None:
        assert platform == "bank"
        if self.broken:
            raise KmsError(Code.AUDIT_ANCHOR, "the disk is full")
        self.written.append(anchor)


class Site:
    def __init__(self) -> None:
        self.store, self.vault, self.anchors = MemoryStore(), MasterVault(), AnchorList()
        self.clock, self.identifiers = TickingClock(), CountingIdentifiers()
        self.platform_keys = PlatformKeyService(
            store=self.store, vault=self.vault, clock=self.clock, identifiers=self.identifiers, platform="bank"
        )
        self.log = AuditLogService(
            store=self.store,
            clock=self.clock,
            platform_keys=self.platform_keys,
            anchors=[self.anchors],
            platform="bank",
            node="node-1",
        )

    def record(self, text: str) -> None:
        event = AuditEvent(self.identifiers.new(), self.clock.now(), "officer alice", text, "key 1", "done")
        with self.store.transaction() as transaction:
            transaction.audit.append(event)

    def list_keys(self) -> list[PlatformKey]:
        with self.store.reading() as reading:
            return list(reading.platform_keys.list())


@pytest.fixture
def site() -> Site:
    return Site()


def test_each_checkpoint_covers_what_came_since_and_is_anchored(site: Site) -> None:
    site.record("one")
    first = site.log.checkpoint()
    site.record("two")
    second = site.log.checkpoint()
    assert [first.anchor.number, second.anchor.number] == [1, 2]
    assert [item.digest for item in site.anchors.written] == [first.anchor.digest, second.anchor.digest]
    report = site.log.verify(site.anchors.written)
    assert (report.checkpoints, report.uncovered) == (2, 0)


def test_without_anything_new_there_is_no_new_checkpoint_and_the_anchor_comes_again(site: Site) -> None:
    site.record("one")
    first = site.log.checkpoint()
    again = site.log.checkpoint()
    assert (again.made, again.anchor.number) == (False, 1)
    assert [item.digest for item in site.anchors.written] == [first.anchor.digest] * 2


def test_an_anchor_that_could_not_be_written_is_written_next_time(site: Site) -> None:
    site.record("one")
    site.anchors.broken = True
    with pytest.raises(KmsError) as failure:
        site.log.checkpoint()
    assert failure.value.code is Code.AUDIT_ANCHOR
    site.anchors.broken = False
    assert site.log.checkpoint().anchor.number == 1
    assert site.log.verify(site.anchors.written).checkpoints == 1


def test_an_export_ends_with_a_checkpoint_and_is_checked_off_line(site: Site) -> None:
    for number in range(5):
        site.record(f"action-{number}")
    lines = list(site.log.export())
    name = fingerprint(site.log.get_first_key())
    assert check_export(lines, name, site.anchors.written).records >= 5
    with pytest.raises(KmsError):
        check_export(lines[:-1], name, site.anchors.written)


def test_the_new_audit_key_is_named_by_the_old_one(site: Site) -> None:
    site.record("one")
    site.log.checkpoint()
    first = site.log.get_first_key()
    new = site.log.replace_key(actor="officer alice")
    site.record("two")
    site.log.checkpoint()
    assert site.log.get_first_key() == first != new.public_key_der
    assert site.log.verify(site.anchors.written).key == new.public_key_der
    assert [key.state for key in site.list_keys()] == [KeyState.DEACTIVATED, KeyState.ACTIVE]
    assert check_export(site.log.export(), fingerprint(first)).checkpoints >= 3


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_change_of_key_that_was_cut_off_is_taken_up_again(site: Site, when: str) -> None:
    site.record("one")
    site.log.checkpoint()
    site.vault.cut_off = when
    with pytest.raises(CutOffError):
        site.log.replace_key(actor="officer alice")
    site.log.checkpoint()
    site.log.replace_key(actor="officer alice")
    site.record("two")
    site.log.checkpoint()
    assert site.log.verify(site.anchors.written).checkpoints >= 3
    assert len(site.list_keys()) == 2


def test_a_successor_that_a_checkpoint_names_is_due_even_if_nothing_else_was_written(site: Site) -> None:
    site.record("one")
    site.log.checkpoint()
    site.log.replace_key(actor="officer alice")
    old, new = site.list_keys()
    with site.store.transaction() as transaction:  # the process died right after the checkpoint
        transaction.platform_keys.save(replace(new, state=KeyState.PRE_ACTIVATION))
        transaction.platform_keys.save(replace(old, state=KeyState.ACTIVE))
    site.record("two")
    site.log.checkpoint()
    assert site.log.verify(site.anchors.written).key == new.public_key_der


def test_a_key_that_nobody_named_signs_nothing(site: Site) -> None:
    site.record("one")
    site.log.checkpoint()
    (old,) = site.list_keys()
    with site.store.transaction() as transaction:
        transaction.platform_keys.save(replace(old, state=KeyState.DESTROYED))
    site.record("two")
    with pytest.raises(KmsError) as failure:
        site.log.checkpoint()
    assert failure.value.code is Code.AUDIT_BROKEN


def test_before_the_first_checkpoint_there_is_no_key_to_compare(site: Site) -> None:
    with pytest.raises(KmsError) as failure:
        site.log.get_first_key()
    assert failure.value.code is Code.KEY_MISSING


def test_the_audit_key_is_its_own(site: Site) -> None:
    site.log.checkpoint()
    (key,) = site.list_keys()
    assert key.purpose is PlatformKeyPurpose.AUDIT
    with pytest.raises(KmsError):
        site.platform_keys.sign(b"a hand-over")
