"""Applications for applications (flows 2 and 3, step 1), and what waits for a card.

Rules: the catalogue (configuration) says which application needs which SSD. An application opens the visit that brings
its SSD up; asking again is harmless: the application and its update are found, a new visit is opened.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kms.config import CatalogueEntry
from kms.domain.audit import AuditEvent
from kms.domain.cards import Application, ApplicationState, Card, DomainKind, DomainState, SecurityDomain
from kms.domain.terminal_limits import check_card_allowed, check_domain_allowed
from kms.domain.updates import OPEN_STATES, KeyUpdate, UpdateReason, UpdateState
from kms.domain.visits import Terminal
from kms.errors import Code, KmsError
from kms.service.domain_requests import DomainRequests, holds_trusted_keys
from kms.service.pending import get_served_card
from kms.service.ports import Clock, Identifiers, Store, Transaction
from kms.service.visits import VisitService, until_claimed


@dataclass(frozen=True)
class AppliedFor:
    """The answer to an application. `session_id`: SERAM's sessionId of the visit that was opened for it."""

    session_id: str
    state: ApplicationState


class ApplicationService:
    """The use cases of applications. `new_session_id`: gives an unguessable UUID; `requests`: asks other issuers."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        identifiers: Identifiers,
        visits: VisitService,
        catalogue: Sequence[CatalogueEntry],
        platform: str,
        new_session_id: Callable[[], str],
        requests: DomainRequests,
    ) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._visits = visits
        self._catalogue = {entry.aid: entry for entry in catalogue}
        self._platform = platform
        self._new_session_id = new_session_id
        self._requests = requests

    def apply(self, terminal: Terminal, card_identity: bytes, application_aid: bytes) -> AppliedFor:
        """Record a card user's application and open the visit for it.

        Raises `input.not-found` for an application that is not in the catalogue, `card.unknown`, `card.quarantined`,
        `terminal.not-allowed`.
        """
        entry = self._catalogue.get(application_aid)
        if entry is None:
            raise KmsError(Code.NOT_FOUND, "this application is not in the platform's catalogue")
        check_card_allowed(terminal.limits, card_identity)
        check_domain_allowed(terminal.limits, entry.ssd_aid)
        if entry.managed_by == "provider":
            self._requests.ensure(terminal, card_identity, entry)
        return until_claimed(lambda: self._apply(terminal, card_identity, entry))

    def _apply(self, terminal: Terminal, card_identity: bytes, entry: CatalogueEntry) -> AppliedFor:
        with self._store.transaction() as tx:
            card = get_served_card(tx, card_identity)
            domain = self._ensure_domain(tx, card, entry)
            application = self._ensure_application(tx, card, domain, entry, terminal)
            session_id = self._new_session_id()
            self._visits.open_visit(tx, terminal, card, session_id)
        return AppliedFor(session_id, application.state)

    def _ensure_domain(self, tx: Transaction, card: Card, entry: CatalogueEntry) -> SecurityDomain:
        domain = tx.security_domains.find_by_aid(card.id, entry.ssd_aid)
        if domain is not None:
            return domain
        isd = next(item for item in tx.security_domains.list_for_card(card.id) if item.kind is DomainKind.ISD)
        domain = SecurityDomain(
            id=self._identifiers.new(),
            card_id=card.id,
            parent_id=isd.id,
            aid=entry.ssd_aid,
            kind=DomainKind.SSD,
            state=DomainState.PLANNED,
            managed_by=self._platform,
            privileges=entry.privileges,
            last_generation=-1,
            created_at=self._clock.now(),
            key_type=entry.ssd_key_type,
        )
        tx.security_domains.add(domain)
        return domain

    def _ensure_application(
        self, tx: Transaction, card: Card, domain: SecurityDomain, entry: CatalogueEntry, terminal: Terminal
    ) -> Application:
        application = tx.applications.find_by_aid(card.id, entry.aid)
        ready = holds_trusted_keys(tx, domain)
        now = self._clock.now()
        if application is None:
            application = Application(
                id=self._identifiers.new(),
                card_id=card.id,
                aid=entry.aid,
                security_domain_id=domain.id,
                state=ApplicationState.READY if ready else ApplicationState.REQUESTED,
                requested_at=now,
                ready_at=now if ready else None,
            )
            tx.applications.add(application)
            self._log(tx, terminal, "application.request", f"application {entry.aid.hex().upper()}", card)
        elif ready and application.state is ApplicationState.REQUESTED:
            # Its update ended before the visit that completed it could see the application.
            application = replace(application, state=ApplicationState.READY, ready_at=now)
            tx.applications.save(application)
            self._log(tx, terminal, "application.ready", f"application {entry.aid.hex().upper()}", card)
        if not ready and not _has_open_update(tx, domain):
            update = KeyUpdate(
                id=self._identifiers.new(),
                security_domain_id=domain.id,
                reason=UpdateReason.INITIAL,
                state=UpdateState.PENDING,
                requested_at=now,
                requested_by=f"terminal {terminal.name}",
                due_at=now,
                application_id=application.id,
            )
            tx.key_updates.add(update)
            self._log(tx, terminal, "update.request", f"update {update.id}", card)
        return application

    def _log(self, tx: Transaction, terminal: Terminal, action: str, subject: str, card: Card) -> None:
        where = f"card {card.identity.hex().upper()}"
        actor = f"terminal {terminal.name}"
        event = AuditEvent(self._identifiers.new(), self._clock.now(), actor, action, subject, "done", "", where)
        tx.audit.append(event)


def _has_open_update(tx: Transaction, domain: SecurityDomain) -> bool:
    return any(item.state in OPEN_STATES for item in tx.key_updates.list_for_domain(domain.id))
