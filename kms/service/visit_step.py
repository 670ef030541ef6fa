"""One step of a visit: from what the terminal reported to the next Order.

Rules: works on a card's record in memory and uses keys; reads and writes no database. A batch that may change the card
is written ahead. Whatever went wrong, the records say what is in doubt, so that this visit or the next one reconciles.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import assert_never

from kms.card.keys import KeyPort
from kms.card.programs.base import Batch, Broken, Finished, Mismatch, Outcome, Probed, Recognized, Reconciled
from kms.card.programs.create_ssd import CreateSsd
from kms.card.programs.delete_keys import DeleteKeys
from kms.card.programs.probe import Probe
from kms.card.programs.recognize import Recognize
from kms.card.programs.replace_keys import ReplaceKeys
from kms.card.programs.state import KeyProgram, ProgramState, advance, dump_state, load_state, start
from kms.card.programs.step import Step
from kms.domain.cards import CardState, DomainState, SecurityDomain
from kms.domain.orders import AgentStatus, Order
from kms.domain.transfers import RelayedOrder, Transfer, TransferState
from kms.domain.updates import OPEN_STATES, KeyUpdate, UpdateState
from kms.domain.visits import BreakCode, Terminal, Visit, VisitState
from kms.errors import Code, KmsError
from kms.service.card_record import CardRecord
from kms.service.control_taking import RETRIED_ERRORS, ControlTaking, find_unproved_hand_over
from kms.service.evidence import EarlierMismatches, judge_mismatch
from kms.service.half_open import HalfOpen, continues
from kms.service.key_ends import KeyEnds
from kms.service.looking import Look, Looking, UnknownKeysError
from kms.service.orders import dump_order
from kms.service.plan import Planner, find_left_over, is_blind
from kms.service.recognizing import describe_protocols, needs_recognition, take_claims
from kms.service.relay import Relay, RelayState, load_relay
from kms.service.settling import Settling
from kms.service.update_attempts import Failure, break_update, find_next_update

HOST_CHALLENGE_LENGTH = 16  # as S16 takes it; the programs use the first 8 where the protocol has no more
HANDING_OVER = frozenset({TransferState.PROVED, TransferState.HANDED_OVER})
# What an issuer will not do later either; other refusals (a quota, a card set aside) may end.
FINAL_REFUSALS = frozenset({Code.TRANSFER_REFUSED, Code.PEER_NOT_ALLOWED, Code.TRANSFER_CONFLICT})
PLANNING_ERRORS = frozenset({Code.KEY_MISSING, Code.KEY_STATE, Code.KEY_EXPIRED, Code.CONFLICT})
END_ERRORS = frozenset({Code.KEY_STATE, Code.KEY_EXPIRED})


@dataclass(frozen=True)
class VisitLimits:
    """How long a visit may rest between two Reports, how often it starts over, and how often a card may refuse."""

    deadline: timedelta
    max_reconciliations: int
    max_attempts: int
    delay_ms: int


@dataclass(frozen=True)
class VisitStep:
    """The working of one Report. `challenge`: gives so many fresh bytes at each call."""

    record: CardRecord
    visit_id: str
    terminal: Terminal
    planner: Planner
    settling: Settling
    earlier: Callable[[], EarlierMismatches]
    limits: VisitLimits
    keys: KeyPort
    relay: Relay
    challenge: Callable[[int], bytes]
    looking: Looking
    grace: Callable[[SecurityDomain], timedelta] = lambda _domain: timedelta(0)

    @property
    def _ends(self) -> KeyEnds:
        return KeyEnds(self.record, self.grace)

    @property
    def visit(self) -> Visit:
        """The visit as it is now."""
        return self.record.visits[self.visit_id]

    def find_refusal(self) -> str | None:
        """Why the card is not served here, whatever was reported; None where it is."""
        card = self.record.card
        if card.state is not CardState.ENROLLED and self.looking.find_repair(self.record) is None:
            return "the card is set aside; officers decide"
        if not self.terminal.limits.allows_card(card.identity):
            return "this terminal may not serve this card: present it at another one"
        return None

    def begin(self) -> Order:
        """Plan the first program, or end the visit when nothing is pending."""
        return self._begin_anew()

    def answer(self, responses: Sequence[bytes], *, card_gone: bool) -> Order:
        """Take the answers to the last Order."""
        relayed = load_relay(self.visit.program)
        if relayed is not None:
            return self._pass_on(relayed, responses, card_gone=card_gone)
        program = self._load_program()
        if program is None:
            return self.restart("the visit has no program running")
        step = advance(program, responses, self.keys, self.challenge(HOST_CHALLENGE_LENGTH))
        return self._take(step, program, card_gone=card_gone)

    def answer_late(self, responses: Sequence[bytes]) -> Order:
        """Take answers after the visit's deadline: they may prove a set, but nothing new is sent."""
        program = self._load_program()
        if program is not None:
            step = advance(program, responses, self.keys, self.challenge(HOST_CHALLENGE_LENGTH))
            self._record_proofs(step)
        return self.expire()

    def expire(self) -> Order:
        """End a visit that rested too long."""
        order = self.refuse("the visit took too long: present the card again")
        self.record.save(replace(self.visit, state=VisitState.EXPIRED))
        return order

    def refuse(self, text: str, code: BreakCode = BreakCode.NO_PROOF, journal: str = "") -> Order:
        """End a visit that cannot go on for a reason of ours; the update waits for the next one.

        `journal`: what is for the platform's people alone.
        """
        self._doubt_all()
        if journal:
            self._note("fault", journal)
        return self._give_up(text, refused=False, code=code)

    def restart(self, reason: str) -> Order:
        """Nobody knows whether the last Order arrived: open a new channel, reconcile, never repeat what was wrapped."""
        self._doubt_all()
        self._note("restart", reason)
        if not self._may_start_over():
            return self._give_up(reason, refused=False)
        return self._begin_anew()

    def _begin_anew(self) -> Order:
        """Ask the card which protocols it speaks, where that has to be known first; else plan."""
        update = self._next_update()
        if update is None or not needs_recognition(self.record, update):
            return self._go_on(None)
        self._take_up(update)
        program = Recognize(self.record.isd.aid)
        return self._take(start(program, self.keys, self.challenge(HOST_CHALLENGE_LENGTH)), program)

    def _take(self, step: Step, program: ProgramState, *, card_gone: bool = False) -> Order:
        self._record_proofs(step)
        if step.state is not None and step.batch is not None:
            return self._send(step.state, step.batch)
        if step.outcome is None:
            raise KmsError(Code.INTERNAL, "a program ended without an outcome")
        return self._conclude(step.outcome, program, card_gone=card_gone)

    def _conclude(self, outcome: Outcome, program: ProgramState, *, card_gone: bool) -> Order:
        if isinstance(program, Recognize) or isinstance(outcome, Recognized):
            return self._recognized(outcome, card_gone=card_gone)
        match outcome:
            case Finished():
                return self._finished(program, outcome)
            case Reconciled():
                return self._reconciled(program, outcome)
            case Probed():
                return self._looked(program, outcome)
            case Broken() | Mismatch():
                return self._broken(program, outcome, card_gone=card_gone)
            case _:
                assert_never(outcome)

    def _recognized(self, outcome: Outcome, *, card_gone: bool) -> Order:
        if card_gone:
            return self._give_up("the card was taken away: present it again", refused=False, code=BreakCode.CARD_GONE)
        if isinstance(outcome, Recognized):
            refusal = take_claims(self.record, outcome)
        else:
            refusal = outcome.reason if isinstance(outcome, Broken) else "the card could not be recognized"
        said = refusal or describe_protocols(self.record.card)
        self._note("recognized", said)
        self.settling.log("card.recognize", "card", "refused" if refusal else "claimed", detail=said)
        return self._give_up(refusal, refused=True) if refusal else self._go_on(None)

    def _finished(self, program: ProgramState, outcome: Finished) -> Order:
        half_open = None
        match program:
            case DeleteKeys():
                domain = self._domain(program.parameters.aid)
                left = find_left_over(self.record, domain)
                if left is not None:
                    self.settling.remove(left)
                word = "" if outcome.authenticated else ", by an answer that no R-MAC protects"
                self._note("deleted", f"key version {program.old_kvn:02X} is gone from the card{word}")
            case CreateSsd() if outcome.handshake is not None:
                half_open = HalfOpen(program.recipe.aid, program.initial.label, outcome.handshake)
                self._note("created", f"security domain {program.recipe.aid.hex().upper()} has its initial keys")
            case ReplaceKeys() if outcome.handshake is not None:
                half_open = HalfOpen(program.parameters.aid, program.new.label, outcome.handshake)
                self._note("replaced", f"key version {program.new.ref.kvn:02X} is in force")
        return self._go_on(half_open)

    def _reconciled(self, program: KeyProgram, found: Reconciled) -> Order:
        domain = self._domain(program.parameters.aid)
        in_force = {evidence.label for evidence in found.in_force}
        nothing_there = not found.present and self.record.find_current_set(domain) is None
        if not in_force and not nothing_there:
            if found.mismatches and not found.lost:
                handed_over = find_unproved_hand_over(self.record, domain)
                if handed_over is not None:
                    return self._distrust(handed_over, "none of the key sets on record fits the card's answer")
                return self._judge_mismatch()
            if not found.present:
                text = f"the card has no security domain {domain.aid.hex().upper()}, or does not let it be selected"
                return self._give_up(text, refused=True)
            text = "the card did not show which keys are in force"
            return self._give_up(self.visit.result or text, refused=bool(self.visit.result))
        self.settling.revive(domain, in_force)
        self.settling.settle(domain, in_force)
        kvns = ", ".join(f"{self.record.key_sets[label].kvn:02X}" for label in sorted(in_force)) or "none"
        named = f", the card names {_list_kvns(found.key_versions)}" if found.key_versions is not None else ""
        self._note("reconciled", f"{domain.kind} {domain.aid.hex().upper()}: key versions in force: {kvns}{named}")
        refusal = self.visit.result
        if refusal and not self._brought_forward(in_force):
            return self._give_up(refusal, refused=True)
        self.record.save(replace(self.visit, result=""))
        half_open = None
        if found.opened is not None and found.handshake is not None:
            half_open = HalfOpen(domain.aid, found.opened, found.handshake)
        return self._go_on(half_open)

    def _looked(self, program: KeyProgram, found: Probed) -> Order:
        domain = self._domain(program.parameters.aid)
        if found.in_force:
            self._fence_earlier()
        try:
            text = self._look.take(domain, found, self.keys)
        except UnknownKeysError:
            return self._judge_mismatch()
        if text is not None:
            return self._give_up(text, refused=False)
        return self._go_on(None)

    @property
    def _look(self) -> Look:
        return Look(self.looking, self.planner, self.settling, self.visit_id)

    def _judge_mismatch(self) -> Order:
        self.record.save(replace(self.visit, mismatches=self.visit.mismatches + 1))
        text = judge_mismatch(self.settling, self.terminal, self.visit, self.earlier())
        return self._give_up(text, refused=False, code=BreakCode.MISMATCH)

    def _brought_forward(self, in_force: Collection[str]) -> bool:
        """Whether the key set that the update was putting in, operative or initial, is in force after all."""
        update = self._update()
        if update is None:
            return True
        current = self.record.find_current_set(self.record.domains[update.security_domain_id])
        aim = update.new_key_set_id or (current.id if current is not None else None)
        return aim in in_force

    def _broken(self, program: KeyProgram, outcome: Broken | Mismatch, *, card_gone: bool) -> Order:
        self._doubt_all()
        self._note("mismatch" if isinstance(outcome, Mismatch) else "broken", outcome.reason)
        refused = isinstance(outcome, Broken) and outcome.refused
        foreign = isinstance(outcome, Broken) and outcome.foreign
        if card_gone and not foreign:
            return self._give_up("the card was taken away: present it again", refused=False, code=BreakCode.CARD_GONE)
        handed_over = find_unproved_hand_over(self.record, self._domain(program.parameters.aid))
        if handed_over is not None and isinstance(outcome, Mismatch):
            return self._distrust(handed_over, outcome.reason)
        opened = isinstance(program, CreateSsd | ReplaceKeys | DeleteKeys) and program.channel is not None
        if foreign or (refused and opened and not outcome.changed):
            return self._give_up(outcome.reason, refused=True)
        if isinstance(program, Probe) or not self._may_start_over():
            return self._give_up(outcome.reason, refused=refused)
        domain = self._domain(program.parameters.aid)
        update = self._update()
        if update is not None and self.record.sets_in_doubt(self.record.domains[update.security_domain_id]):
            domain = self.record.domains[update.security_domain_id]
        if is_blind(self.record, domain):
            return self._go_on(None)
        self.record.save(replace(self.visit, result=outcome.reason if refused else ""))
        reconcile = self.planner.reconcile(self.record, domain)
        step = start(reconcile, self.keys, self.challenge(HOST_CHALLENGE_LENGTH))
        return self._take(step, reconcile)

    def _go_on(self, half_open: HalfOpen | None) -> Order:
        look = self._look.begin()
        if look is not None:
            return self._take(start(look, self.keys, self.challenge(HOST_CHALLENGE_LENGTH)), look)
        end = self._look.end()
        return self._stop(end) if end is not None else self._work(half_open)

    def _work(self, half_open: HalfOpen | None) -> Order:
        """Take updates up until one needs the card."""
        while (update := self._next_update()) is not None:
            self._take_up(update)
            domain = self.record.domains[update.security_domain_id]
            if is_blind(self.record, domain):
                self.settling.send_again(domain)
            try:
                program = self.planner.plan(self.record, self.record.updates[update.id])
                if program is not None and not isinstance(program, Transfer):
                    self._ends.check_program(program, self.record.updates[update.id], self.settling.now)
            except KmsError as error:
                if error.code not in PLANNING_ERRORS:
                    raise
                return self._give_up(error.detail, refused=False, code=BreakCode.PLAN)
            if isinstance(program, Transfer):
                return self._relay(program, self._taking.begin)
            if program is not None:
                handshake = half_open.handshake if half_open and continues(program, half_open) else None
                step = start(program, self.keys, self.challenge(HOST_CHALLENGE_LENGTH), handshake)
                return self._take(step, program)
            self.settling.complete(self.record.updates[update.id])
            self._note("completed", f"update {update.id} ({update.reason}) is done")
        return self._finish()

    def _finish(self) -> Order:
        """Nothing is left to update: end the visit, or look first at what is in doubt all the same."""
        mine = [item for item in self.record.domains.values() if self.terminal.limits.allows_domain(item.aid)]
        in_doubt = [item for item in mine if self.record.sets_in_doubt(item)]
        doubtful = next((item for item in in_doubt if not is_blind(self.record, item)), None)
        if doubtful is not None:
            # No update asks for it any more, but the record must say what is on the card.
            reconcile = self.planner.reconcile(self.record, doubtful)
            return self._take(start(reconcile, self.keys, self.challenge(HOST_CHALLENGE_LENGTH)), reconcile)
        return self._stop("done" if self.visit.update_id else "nothing is pending for this card")

    def _pass_on(self, state: RelayState, responses: Sequence[bytes], *, card_gone: bool) -> Order:
        """Hand the answers to a relayed batch on to the issuer."""
        transfer = self.record.transfers[state.transfer_id]
        status = AgentStatus.UNAVAILABLE_SE if card_gone else AgentStatus.PROCESSED
        return self._relay(transfer, lambda relay, to: relay.answer(to, state, responses, status))

    def _relay(self, transfer: Transfer, call: Callable[[Relay, Transfer], RelayedOrder]) -> Order:
        """Get the issuer's next batch and send it unread; when the issuer's part is over, take the hand-over."""
        try:
            relayed = call(self.relay, transfer)
            if not relayed.ended:
                state = RelayState(transfer_id=transfer.id, order_number=relayed.number)
                return self._send_commands(relayed.commands, state.model_dump_json())
            if relayed.state is TransferState.REFUSED:
                return self._refused(transfer, relayed.text)
            if relayed.state not in HANDING_OVER:
                return self._give_up(f"{transfer.peer}: {relayed.text}", refused=False)
            self._taking.receive(self.relay, transfer, self.keys)
        except KmsError as error:
            if error.code in RETRIED_ERRORS:
                raise
            if any(fault.where in FINAL_REFUSALS for fault in error.faults):
                return self._refused(transfer, "; ".join(fault.what for fault in error.faults))
            self.settling.log(
                "transfer.refuse", f"transfer {transfer.id}", f"refused: {error.code}", detail=error.detail
            )
            return self._give_up(error.detail, refused=True)
        self._note("handed-over", f"{transfer.peer} handed the security domain over")
        return self._go_on(None)

    @property
    def _taking(self) -> ControlTaking:
        return ControlTaking(self.settling, self.planner.platform, self._note)

    def _refused(self, transfer: Transfer, why: str) -> Order:
        """End the update with the issuer's refusal: asking again is a new update and a new transfer."""
        self.settling.refuse(transfer, why)
        return self._give_up(f"{transfer.peer}: {why}", refused=True, final=True, code=BreakCode.PEER)

    def _distrust(self, transfer: Transfer, why: str) -> Order:
        """Handed-over keys that do not fit: the issuer's fault as likely as the terminal's, so nobody is suspended."""
        self.settling.distrust(transfer, why)
        self._note("distrusted", why)
        text = f"the keys that {transfer.peer} handed over do not open the card: its issuer is asked again next time"
        return self._give_up(text, refused=True)

    def _send(self, state: ProgramState, batch: Batch) -> Order:
        try:
            # Once more, whatever the program: nothing that a key past its end protects leaves.
            self._ends.check_program(state, self._update(), self.settling.now)
        except KmsError as error:
            if error.code not in END_ERRORS:
                raise
            return self._give_up(error.detail, refused=False)
        if batch.installs is not None:
            self.settling.write_ahead(batch.installs)
        if batch.makes_domain and isinstance(state, CreateSsd):
            domain = self._domain(state.recipe.aid)
            if domain.state is DomainState.PLANNED:
                self.record.save(replace(domain, state=DomainState.CREATING))
                self.settling.log("ssd.create", f"SSD {domain.aid.hex().upper()}", "sent")
        return self._send_commands(batch.commands, dump_state(state))

    def _send_commands(self, commands: tuple[bytes, ...], program: str) -> Order:
        visit = self.visit
        order = Order(
            number=visit.order_number + 1,
            card_identity=self.record.card.identity,
            commands=commands,
            delay_ms=self.limits.delay_ms,
        )
        self.record.save(
            replace(
                visit,
                order_number=order.number,
                order=dump_order(order),
                program=program,
                commands_sent=visit.commands_sent + len(commands),
                deadline=self.settling.now + self.limits.deadline,
            )
        )
        return order

    def _give_up(self, reason: str, *, refused: bool, final: bool = False, code: BreakCode | None = None) -> Order:
        """End the visit without the update's end; the next visit goes on, unless the card refused too often.

        `final`: once is too often. `code`: why, where that is not what `refused` says.
        """
        update = self._update()
        if update is not None and update.state in OPEN_STATES:
            code = code or (BreakCode.CARD_REFUSED if refused else BreakCode.NO_PROOF)
            break_update(self.settling, update, Failure(code, reason, refused, final), self.limits.max_attempts)
        self._note("gave-up", reason)
        return self._stop(reason)

    def _stop(self, text: str) -> Order:
        visit = self.visit
        number = visit.order_number + 1
        # What was wrapped is erased with the visit (DESIGN section 4: the database holds no key material).
        ended = replace(
            visit,
            state=VisitState.ENDED,
            order_number=number,
            order=None,
            program=None,
            result=text,
            ended_at=self.settling.now,
        )
        self.record.save(ended)
        return build_stop(number, self.record.card.identity, text)

    def _record_proofs(self, step: Step) -> None:
        for evidence in step.proved:
            self.settling.prove(evidence)
        if step.proved:
            self._fence_earlier()

    def _fence_earlier(self) -> None:
        """A valid card cryptogram in this visit: the card is here, so what earlier visits hold is over."""
        for other in list(self.record.visits.values()):
            earlier = (other.opened_at, other.id) < (self.visit.opened_at, self.visit.id)
            if earlier and other.state is VisitState.OPEN:
                self.record.save(replace(other, state=VisitState.FENCED, order=None, program=None))
                self.settling.log("visit.fence", f"visit {other.id}", "fenced")

    def _doubt_all(self) -> None:
        for domain in list(self.record.domains.values()):
            self.settling.doubt(domain)

    def _may_start_over(self) -> bool:
        if self.visit.reconciliations >= self.limits.max_reconciliations:
            return False
        self.record.save(replace(self.visit, reconciliations=self.visit.reconciliations + 1))
        return True

    def _load_program(self) -> ProgramState | None:
        """The running program; None as well for one that another version of this server saved."""
        try:
            return load_state(self.visit.program) if self.visit.program is not None else None
        except KmsError:
            return None

    def _next_update(self) -> KeyUpdate | None:
        return find_next_update(self.record, self.terminal.limits, self.visit.update_id)

    def _update(self) -> KeyUpdate | None:
        return self.record.updates.get(self.visit.update_id or "")

    def _take_up(self, update: KeyUpdate) -> None:
        """Count the visit as an attempt, once."""
        if self.visit.update_id == update.id:
            return
        self.record.save(replace(update, state=UpdateState.RUNNING, attempts=update.attempts + 1))
        self.record.save(replace(self.visit, update_id=update.id))
        self._note("update", f"update {update.id} ({update.reason}), attempt {update.attempts + 1}")

    def _domain(self, aid: bytes) -> SecurityDomain:
        return next(item for item in self.record.domains.values() if item.aid == aid)

    def _note(self, kind: str, text: str) -> None:
        self.record.note(self.visit, self.settling.now, kind, text)


def build_stop(number: int, card_identity: bytes, text: str) -> Order:
    """The Order that ends a visit."""
    return Order(number=number, card_identity=card_identity, stop=True, notification=text)


def _list_kvns(key_versions: Sequence[int]) -> str:
    return " ".join(f"{kvn:02X}" for kvn in key_versions) or "none"
