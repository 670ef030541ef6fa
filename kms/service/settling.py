"""What a visit learns about key sets, written into the card's record: in flight, in doubt, proved, replaced.

Rules: a set is PROVED only by a valid card cryptogram. A late proof may settle a set; nothing moves a PROVED set back.
A set that was sent and not seen in force is PLANNED again, but stays one that may be found on the card, because a
withheld batch can come until the counter moves (DESIGN section 3). Every change is an audit event.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kms.card.keys import DerivationPurpose
from kms.card.programs.base import Evidence, Installs
from kms.domain.alarms import Alarm, AlarmSeverity
from kms.domain.audit import AuditEvent, build_kcv_text
from kms.domain.cards import SCP02, ApplicationState, DomainState, SecurityDomain
from kms.domain.keys import Delivery, KeySet, KeyState
from kms.domain.policies import PolicyBook, PolicyVersion
from kms.domain.transfers import HandOver, Transfer, TransferSide, TransferState
from kms.domain.updates import KeyUpdate, UpdateState
from kms.errors import Code, KmsError
from kms.service.card_record import IN_DOUBT, CardRecord
from kms.service.plan import left_by_word, must_add
from kms.service.ports import Identifiers
from kms.service.recognizing import fix_claim


@dataclass(frozen=True)
class Settling:
    """Writes into one card's record. `actor`: who is named in the audit log (`terminal counter-1`).

    `policies`: reads those in force; asked only when something depends on them.
    """

    record: CardRecord
    identifiers: Identifiers
    now: datetime
    actor: str
    policies: Callable[[], PolicyBook]

    def log(self, action: str, subject: str, result: str, *, kcv: str = "", detail: str = "") -> None:
        """Write an audit event about this card."""
        where = f"card {self.record.card.identity.hex().upper()}"
        text = f"{where}; {detail}" if detail else where
        event = AuditEvent(self.identifiers.new(), self.now, self.actor, action, subject, result, kcv, text)
        self.record.log(event)

    def alarm(self, kind: str, subject: str, text: str) -> None:
        """Raise an alarm about this card, with the changes."""
        where = f"card {self.record.card.identity.hex().upper()}"
        found = Alarm(
            self.identifiers.new(), kind, subject, f"{where}; {text}", AlarmSeverity.WARNING, self.now, self.now
        )
        self.record.alarm(found)

    def write_ahead(self, installs: Installs) -> None:
        """Record that a batch which may install the set is about to leave (DESIGN section 3)."""
        key_set = self.record.key_sets[installs.label]
        in_flight = replace(key_set, delivery=Delivery.IN_FLIGHT, kcvs=installs.kcvs, kcv_method=installs.kcv_method)
        self.record.save(in_flight)
        self.log_set("key-set.send", in_flight, "in flight")

    def doubt(self, domain: SecurityDomain) -> None:
        """Record that the answer about the domain's sets in flight is lost."""
        for key_set in self.record.sets_of(domain):
            if key_set.delivery is Delivery.IN_FLIGHT:
                in_doubt = replace(key_set, delivery=Delivery.IN_DOUBT)
                self.record.save(in_doubt)
                self.log_set("key-set.doubt", in_doubt, "in doubt")

    def prove(self, evidence: Evidence) -> None:
        """Record a valid card cryptogram under a set; what it took the place of is deactivated."""
        key_set = self.record.key_sets[evidence.label]
        fix_claim(self.record, key_set.key_type)
        if key_set.delivery in (Delivery.PROVED, Delivery.REPLACED) or key_set.state is KeyState.COMPROMISED:
            return
        domain = self.record.domains[key_set.security_domain_id]
        if key_set.delivery is Delivery.FACTORY:
            self.record.save(replace(key_set, delivery=Delivery.PROVED, proved_at=self.now))
            self.log_set("key-set.prove", key_set, "delivered set in force")
            return
        for other in self.record.sets_of(domain):
            if other.id != key_set.id and other.state is KeyState.ACTIVE:
                self._deactivate(other, key_set)
        proved = replace(
            key_set,
            delivery=Delivery.PROVED,
            state=KeyState.ACTIVE,
            proved_at=self.now,
        )
        proved = self._date(proved, domain)
        self.record.save(proved)
        operative = key_set.purpose is not DerivationPurpose.SSD_INITIAL
        self.record.save(replace(domain, state=DomainState.KEYED if operative else DomainState.CREATING))
        if operative:
            self._take_control(domain)
        self.log_set("key-set.prove", proved, "in force", detail=f"sequence counter {evidence.counter}")

    def settle(self, domain: SecurityDomain, in_force: Collection[str]) -> None:
        """After Reconcile found another set in force: what was in doubt was not there, and may be sent again."""
        for key_set in self.record.sets_of(domain):
            if key_set.delivery in IN_DOUBT and key_set.id not in in_force:
                planned = replace(key_set, delivery=Delivery.PLANNED)
                self.record.save(planned)
                self.log_set("key-set.settle", planned, "not on the card")

    def send_again(self, domain: SecurityDomain) -> None:
        """What was in doubt goes in once more, since no answer of the security domain could tell (`plan.is_blind`)."""
        for key_set in self.record.sets_in_doubt(domain):
            planned = replace(key_set, delivery=Delivery.PLANNED)
            self.record.save(planned)
            self.log_set("key-set.settle", planned, "to be sent again")

    def revive(self, domain: SecurityDomain, in_force: Collection[str]) -> None:
        """Take a factory set back that was held for deleted and answers all the same: DELETE's answer was a lie.

        Where the set that took its place does not answer, that one went elsewhere or nowhere, and is sent again.
        """
        found = (item for item in self.record.sets_of(domain) if item.id in in_force)
        back = next((item for item in found if left_by_word(self.record, item)), None)
        if back is None:
            return
        current = self.record.find_current_set(domain)
        if current is not None and current.id in in_force:
            left = replace(back, delivery=Delivery.PROVED, replaced_at=None)  # DEACTIVATED still: it is to go
        else:
            left = replace(back, delivery=Delivery.PROVED, state=KeyState.ACTIVE, replaced_at=None)
            if current is not None:
                lost = replace(current, delivery=Delivery.PLANNED, state=KeyState.PRE_ACTIVATION)
                self.record.save(lost)
                self.log_set("key-set.doubt", lost, "does not answer, may be sent again")
        self.record.save(left)
        self.log_set("key-set.revive", left, "on the card after all")

    def remove(self, key_set: KeySet) -> None:
        """Record that an old set is gone from the card."""
        self.record.save(replace(key_set, delivery=Delivery.REPLACED, replaced_at=self.now))
        self.log_set("key-set.remove", key_set, "deleted from the card")

    def complete(self, update: KeyUpdate) -> None:
        """Record that an update's new set is in force and nothing old is left; waiting applications are ready."""
        done = replace(update, state=UpdateState.DONE, finished_at=self.now, failure="")
        self.record.save(done)
        self.log("update.complete", f"update {update.id}", "done", detail=f"reason {update.reason}")
        for application in list(self.record.applications.values()):
            waiting = application.state is ApplicationState.REQUESTED
            if waiting and application.security_domain_id == update.security_domain_id:
                self.record.save(replace(application, state=ApplicationState.READY, ready_at=self.now))
                subject = f"application {application.aid.hex().upper()}"
                self.log("application.ready", subject, "ready")

    def receive(self, transfer: Transfer, envelope: str, hand_over: HandOver, kek_id: str) -> None:
        """Record a checked hand-over: the initial set is on the card by the issuer's word, and kept wrapped.

        Raises `transfer.envelope-keys` for a set that was in force before: what replaced it does not come undone.
        """
        domain = self.record.domains[transfer.security_domain_id or ""]
        known = next(
            (
                item
                for item in self.record.sets_of(domain)
                if item.purpose is DerivationPurpose.SSD_INITIAL and item.generation == hand_over.generation
            ),
            None,
        )
        if known is not None and known.delivery is not Delivery.FACTORY:
            text = f"The hand-over's keys, generation {hand_over.generation}, were handed over and replaced before"
            raise KmsError(Code.ENVELOPE_KEYS, text)
        received = replace(transfer, state=TransferState.HANDED_OVER, envelope=envelope, handed_over_at=self.now)
        self.record.save(received)
        if known is not None:
            # Issued again: what the last envelope says holds, the KEK that it is wrapped under before all.
            again = replace(known, kvn=hand_over.kvn, master_id=kek_id, kcvs=hand_over.kcvs)
            self.record.save(again)
            self.log_set("transfer.receive", again, f"handed over again by {transfer.peer}", detail=transfer.id)
        if known is None:
            initial = KeySet(
                id=self.identifiers.new(),
                security_domain_id=domain.id,
                kvn=hand_over.kvn,
                key_type=hand_over.key_type,
                purpose=DerivationPurpose.SSD_INITIAL,
                master_id=kek_id,
                generation=hand_over.generation,
                delivery=Delivery.FACTORY,
                state=KeyState.ACTIVE,
                kcvs=hand_over.kcvs,
                kcv_method=hand_over.kcv_method,
                created_at=self.now,
            )
            self.record.add_key_set(initial)
            self._learn_protocol(hand_over)
            last = max(domain.last_generation, hand_over.generation)
            self.record.save(replace(domain, state=DomainState.CREATING, last_generation=last))
            self.log_set("transfer.receive", initial, f"handed over by {transfer.peer}", detail=transfer.id)

    def _learn_protocol(self, hand_over: HandOver) -> None:
        """Take the card's protocol from an issuer that opened a channel by it, where nothing is known of the card."""
        card = self.record.card
        if not card.is_known and hand_over.scp == SCP02:
            self.record.save(replace(card, scp02_i=hand_over.scp_i))
        elif not card.is_known:
            self.record.save(replace(card, scp03_i=hand_over.scp_i))

    def distrust(self, transfer: Transfer, why: str) -> None:
        """Record that the handed-over keys do not open the card; the envelope is erased, and asked for again."""
        self.record.save(replace(transfer, envelope=None))
        self.log(
            "transfer.distrust", f"transfer {transfer.id}", "the handed-over keys do not open the card", detail=why
        )

    def refuse(self, transfer: Transfer, why: str) -> None:
        """Record that the issuer refused for good; a later request is a transfer of its own."""
        self.record.save(replace(transfer, state=TransferState.REFUSED, refusal=why, envelope=None))
        self.log("transfer.refuse", f"transfer {transfer.id}", f"refused by {transfer.peer}", detail=why)

    def close(self, transfer: Transfer) -> None:
        """Record that the issuer heard of our control."""
        self.record.save(replace(transfer, state=TransferState.CLOSED, closed_at=self.now))
        self.log("transfer.close", f"transfer {transfer.id}", f"heard by {transfer.peer}")

    def _take_control(self, domain: SecurityDomain) -> None:
        """Our own keys are proved: the handed-over ones are erased, and the issuer is to be told."""
        for transfer in list(self.record.transfers.values()):
            mine = transfer.security_domain_id == domain.id and transfer.side is TransferSide.PROVIDER
            if mine and transfer.state is TransferState.HANDED_OVER:
                self.record.save(replace(transfer, state=TransferState.CONTROLLED, envelope=None))
                self.log("transfer.control", f"transfer {transfer.id}", "our own keys in force, envelope destroyed")

    def _deactivate(self, key_set: KeySet, new: KeySet) -> None:
        if must_add(key_set, new.key_type):
            # It was added to, not replaced: it stays on the card until DELETE (card-facts 4.2).
            self.record.save(replace(key_set, state=KeyState.DEACTIVATED))
            return
        replaced = replace(key_set, state=KeyState.DEACTIVATED, delivery=Delivery.REPLACED, replaced_at=self.now)
        self.record.save(replaced)
        self.log_set("key-set.replace", replaced, "replaced")

    def find_policy(self, domain: SecurityDomain) -> PolicyVersion | None:
        """Find the policy in force for a security domain of this card."""
        return self.policies().find(domain.kind, domain.aid, domain.managed_by, self.record.card.batch)

    def find_grace(self, domain: SecurityDomain) -> timedelta:
        """How long past its end a set of this security domain may open the channel for its own replacement."""
        version = self.find_policy(domain)
        return timedelta(0) if version is None else timedelta(days=version.policy.grace_days)

    def _date(self, key_set: KeySet, domain: SecurityDomain) -> KeySet:
        """The set with the dates that follow from its policy; without one nobody knows its end, and officers are told.

        The card has the set whatever the policies say, so a missing one refuses nothing here.
        """
        version = self.find_policy(domain)
        if key_set.purpose is None or version is None:
            return key_set
        expires_at = version.policy.find_expiry(key_set.purpose, self.now)
        rotate_at = version.policy.find_rotation(key_set.id, key_set.purpose, expires_at)
        return replace(key_set, policy_id=version.id, expires_at=expires_at, rotate_at=rotate_at)

    def log_set(self, action: str, key_set: KeySet, result: str, *, detail: str = "") -> None:
        """Write an audit event about a key set of this card."""
        domain = self.record.domains[key_set.security_domain_id]
        subject = f"key set {key_set.id}"
        kcv = build_kcv_text(key_set.kcv_method, key_set.kcvs)
        what = (
            f"{domain.kind} {domain.aid.hex().upper()}, key version {key_set.kvn:02X}, generation {key_set.generation}"
        )
        self.log(action, subject, result, kcv=kcv, detail=f"{what}; {detail}" if detail else what)
