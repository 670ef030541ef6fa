"""The restore drill: back up, rotate 50 cards, restore the old backup; every card is reached again.

Cards and platform are in this process, the database is real: SQLite as a file that is copied, PostgreSQL as a database
that is copied by its own means.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from kms.domain.cards import CardState
from kms.domain.keys import KeySet
from kms.domain.recovery import PlatformCondition
from kms.service.looking import RECOVERY_TEXT
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.personality import build_factory_state
from tests.fakes.agent import Agent
from tests.fakes.issuer import APPLICATION_AID, ISD_AID, SSD_AID, Issuer, build_issuer
from tests.fakes.postgres import TEMPLATE, get_cluster
from tests.fakes.stores import DATABASES, build_database, closing_store

CARDS = {"sqlite": 50, "postgresql": 10}  # the rules are the same, the other database takes five times as long


@dataclass
class Drill:
    """The platform, its cards by identity, and how its database is backed up and restored."""

    issuer: Issuer
    cards: dict[bytes, VirtualCard]
    back_up: Callable[[], None]
    restore: Callable[[], None]
    visits: int = 0

    def visit(self, identity: bytes) -> str:
        """One visit, at the terminals in turn."""
        self.visits += 1
        self.issuer.clock.move(seconds=1)
        terminal = (self.issuer.terminal, self.issuer.other_terminal)[self.visits % 2]
        agent = Agent(self.issuer.visits, terminal, self.cards[identity], identity)
        return agent.run(f"drill-{self.visits}").notification

    def rotate(self, identity: bytes, aid: bytes = SSD_AID) -> None:
        self.issuer.updates.force(identity, aid, actor="test")
        assert self.visit(identity) == "done"

    def kvns(self, identity: bytes, aid: bytes) -> list[int]:
        domain = self.cards[identity].state.find_domain(aid)
        return [key_set.kvn for key_set in domain.key_sets] if domain else []

    def key_sets(self, identity: bytes, aid: bytes) -> list[KeySet]:
        with self.issuer.store.transaction() as tx:
            card = tx.cards.find_by_identity(identity)
            assert card is not None
            domain = tx.security_domains.find_by_aid(card.id, aid)
            return list(tx.key_sets.list_for_domain(domain.id)) if domain else []

    def kvns_in_force(self, identity: bytes, aid: bytes) -> list[int]:
        return [item.kvn for item in self.key_sets(identity, aid) if item.proved_at and not item.replaced_at]

    def generations(self, identity: bytes, aid: bytes) -> list[int]:
        return [item.generation for item in self.key_sets(identity, aid)]


@pytest.mark.parametrize("kind", DATABASES)
def test_every_card_is_reached_again_after_an_old_backup_was_restored(kind: str, tmp_path: Path) -> None:
    with open_drill(kind, tmp_path) as drill:
        issuer, identities = drill.issuer, list(drill.cards)
        for identity in identities:
            session = issuer.applications.apply(issuer.terminal, identity, APPLICATION_AID).session_id
            Agent(issuer.visits, issuer.terminal, drill.cards[identity], identity).run(session)
        drill.back_up()
        before = {identity: drill.generations(identity, SSD_AID) for identity in identities}
        used = {}
        for number, identity in enumerate(identities):
            for _ in range(1 + number % 3):  # one to three generations that the backup does not know
                drill.rotate(identity)
            if number % 5 == 0:
                drill.rotate(identity, ISD_AID)
            used[identity] = {aid: set(drill.generations(identity, aid)) for aid in (ISD_AID, SSD_AID)}
        issuer.recovery.keep_anchor()

        drill.restore()
        assert {identity: drill.generations(identity, SSD_AID) for identity in identities} == before
        issuer.recovery._checked = False  # noqa: SLF001 - the server is started anew
        first, second = identities[: len(identities) // 2], identities[len(identities) // 2 :]
        for identity in first:  # these come while the platform is in recovery
            assert drill.visit(identity) == RECOVERY_TEXT
            assert drill.kvns_in_force(identity, SSD_AID) == drill.kvns(identity, SSD_AID)
        status = issuer.recovery.status()
        assert status.condition is PlatformCondition.RECOVERY
        assert status.findings["derived"] >= len(first)
        issuer.recovery.confirm(actor="officer")

        for identity in (*second, *first):  # those after officers confirmed; and all go on
            drill.rotate(identity)
            for aid in (ISD_AID, SSD_AID):
                assert drill.kvns_in_force(identity, aid) == drill.kvns(identity, aid)
            # Never a generation twice: the newest is none that the card ever had, backup or not.
            assert max(drill.generations(identity, SSD_AID)) == max(used[identity][SSD_AID]) + 1
        with issuer.store.transaction() as tx:
            cards = tx.cards.list(limit=len(identities) + 1)
            assert [card.state for card in cards] == [CardState.ENROLLED] * len(identities)
            assert tx.alarms.list_open() == []


@contextmanager
def open_drill(kind: str, folder: Path) -> Iterator[Drill]:
    with open_database(kind, folder) as (url, back_up, restore), closing_store(url) as store:
        issuer = build_issuer(store=store)
        cards = {issuer.card.identity: VirtualCard(build_factory_state(kvn=0x01, scp02_i=0x55))}
        with store.transaction() as tx:
            isd = tx.security_domains.find_by_aid(issuer.card.id, ISD_AID)
            assert isd is not None
            (vendor_set,) = tx.key_sets.list_for_domain(isd.id)
            for number in range(2, CARDS[kind] + 1):
                identity = issuer.card.identity[:-1] + bytes([0x80 + number])
                card = replace(issuer.card, id=f"card-{number}", identity=identity)
                own_isd = replace(isd, id=f"isd-{number}", card_id=card.id)
                tx.cards.add(card)
                tx.security_domains.add(own_isd)
                tx.key_sets.add(replace(vendor_set, id=f"vendor-set-{number}", security_domain_id=own_isd.id))
                cards[identity] = VirtualCard(build_factory_state(kvn=0x01, scp02_i=0x55))

        def closed(act: Callable[[], None]) -> Callable[[], None]:
            def work() -> None:
                store.dispose()
                act()

            return work

        yield Drill(issuer, cards, closed(back_up), closed(restore))


@contextmanager
def open_database(kind: str, folder: Path) -> Iterator[tuple[str, Callable[[], None], Callable[[], None]]]:
    """A database: its URL, and what backs it up and restores it while nobody is connected."""
    if kind == "sqlite":
        url = build_database(folder)
        path, backup = folder / "kms.db", folder / "backup.db"

        def copy_file() -> None:
            shutil.copyfile(path, backup)

        def restore_file() -> None:
            for left in folder.glob("kms.db-*"):  # the journal of the database that is lost
                left.unlink()
            shutil.copyfile(backup, path)

        yield url, copy_file, restore_file
        return
    cluster = get_cluster()
    name = cluster.create_database(TEMPLATE)
    backups: list[str] = []

    def restore_database() -> None:
        cluster.drop_database(name)
        cluster.execute(f'ALTER DATABASE "{backups.pop()}" RENAME TO "{name}"')

    try:
        yield cluster.build_url(name), lambda: backups.append(cluster.create_database(name)), restore_database
    finally:
        cluster.drop_database(name)
