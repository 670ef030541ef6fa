"""Enrolling terminals and deciding whether a caller is one.

Rules: a terminal is its client certificate's SHA-256 fingerprint. ENROLLED terminals are served; SUSPENDED ones may be
resumed; REVOKED is final. Every change writes an audit event in its transaction.
"""

from dataclasses import replace

from kms.domain.audit import AuditEvent
from kms.domain.terminal_limits import MAX_LIMITS, TerminalLimits
from kms.domain.visits import Terminal, TerminalState
from kms.errors import Code, KmsError
from kms.service.ports import Clock, Identifiers, Store
from kms.service.recovery import check_normal

FINGERPRINT_LENGTH = 32
MAX_NAME = 64
PEER_PREFIX = "peer "  # a peer platform stands in its visits as the terminal `peer NAME` (kms.service.transfers)

ALLOWED = {
    TerminalState.SUSPENDED: frozenset({TerminalState.ENROLLED}),
    TerminalState.ENROLLED: frozenset({TerminalState.SUSPENDED}),
    TerminalState.REVOKED: frozenset({TerminalState.ENROLLED, TerminalState.SUSPENDED}),
}
"""For each state, the states it may be reached from."""


class TerminalService:
    """The use cases of terminals."""

    def __init__(self, *, store: Store, clock: Clock, identifiers: Identifiers) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers

    def enrol(self, name: str, fingerprint: bytes, *, actor: str) -> Terminal:
        """Enrol a terminal by the SHA-256 of its client certificate (DER), 32 bytes.

        Raises `input.invalid`, and `input.conflict` when the name or the certificate is enrolled already.
        """
        if not name or len(name) > MAX_NAME or not name.isprintable() or name != name.strip():
            raise KmsError(Code.INPUT_INVALID, f"A terminal's name has 1 to {MAX_NAME} printable characters.")
        if name.startswith(PEER_PREFIX):
            text = "A name that begins with `peer ` stands for a peer platform; its visits must be nobody else's."
            raise KmsError(Code.INPUT_INVALID, text)
        if len(fingerprint) != FINGERPRINT_LENGTH:
            raise KmsError(Code.INPUT_INVALID, "A fingerprint is the SHA-256 of the certificate: 32 bytes.")
        terminal = Terminal(self._identifiers.new(), name, fingerprint, TerminalState.ENROLLED, self._clock.now())
        with self._store.transaction() as transaction:
            check_normal(transaction, "Enrolling terminals")
            if transaction.terminals.find_by_name(name) is not None:
                raise KmsError(Code.CONFLICT, "A terminal with this name is enrolled already.")
            if transaction.terminals.find_by_fingerprint(fingerprint) is not None:
                raise KmsError(Code.CONFLICT, "This certificate is enrolled already, under another name.")
            transaction.terminals.add(terminal)
            transaction.audit.append(self._build_event(terminal, "terminal.enrol", actor))
        return terminal

    def suspend(self, name: str, *, reason: str, actor: str) -> Terminal:
        """Serve the terminal no more until it is resumed. Raises `input.not-found`, `input.conflict`."""
        return self._change(name, TerminalState.SUSPENDED, "terminal.suspend", reason, actor)

    def resume(self, name: str, *, actor: str) -> Terminal:
        """Serve a suspended terminal again. Raises `input.not-found`, `input.conflict`."""
        return self._change(name, TerminalState.ENROLLED, "terminal.resume", "", actor)

    def revoke(self, name: str, *, reason: str, actor: str) -> Terminal:
        """Serve the terminal never again. Raises `input.not-found`, `input.conflict`."""
        return self._change(name, TerminalState.REVOKED, "terminal.revoke", reason, actor)

    def limit(self, name: str, limits: TerminalLimits, *, actor: str) -> Terminal:
        """Say which cards and security domains the terminal may serve; `NO_LIMITS`: all.

        Raises `input.not-found`, `input.invalid` for more than 200 limits, `input.conflict` for a revoked terminal.
        """
        if len(limits.cards) + len(limits.aids) > MAX_LIMITS:
            raise KmsError(Code.INPUT_INVALID, f"A terminal has at most {MAX_LIMITS} limits; join ranges.")
        with self._store.transaction() as transaction:
            before = transaction.terminals.find_by_name(name)
            if before is None:
                raise KmsError(Code.NOT_FOUND, "There is no terminal with this name.")
            if before.state is TerminalState.REVOKED:
                raise KmsError(Code.CONFLICT, "The terminal is REVOKED: it serves nothing any more.")
            terminal = replace(before, limits=limits)
            transaction.terminals.save(terminal)
            told = f"{len(limits.cards)} card ranges, {len(limits.aids)} security domains; none means all"
            event = self._build_event(replace(terminal, reason=told), "terminal.limit", actor)
            transaction.audit.append(event)
        return terminal

    def authenticate(self, fingerprint: bytes) -> Terminal:
        """Get the terminal of a client certificate. Raises `terminal.unknown`, `terminal.refused`."""
        with self._store.reading() as transaction:
            terminal = transaction.terminals.find_by_fingerprint(fingerprint)
        if terminal is None:
            text = "This terminal's certificate is not enrolled: `kms terminals enrol` on the platform."
            raise KmsError(Code.TERMINAL_UNKNOWN, text)
        if terminal.state is not TerminalState.ENROLLED:
            text = f"This terminal is {terminal.state.lower()} and is not served; ask the platform's operator."
            raise KmsError(Code.TERMINAL_REFUSED, text)
        return terminal

    def _change(self, name: str, state: TerminalState, action: str, reason: str, actor: str) -> Terminal:
        with self._store.transaction() as transaction:
            before = transaction.terminals.find_by_name(name)
            if before is None:
                raise KmsError(Code.NOT_FOUND, "There is no terminal with this name.")
            if before.state not in ALLOWED[state]:
                what = "already" if before.state is state else f"and cannot become {state}"
                raise KmsError(Code.CONFLICT, f"The terminal is {before.state} {what}.")
            terminal = replace(before, state=state, reason=reason)
            if state is TerminalState.ENROLLED:
                terminal = replace(terminal, trusted_since=self._clock.now())
            transaction.terminals.save(terminal)
            transaction.audit.append(self._build_event(terminal, action, actor))
        return terminal

    def _build_event(self, terminal: Terminal, action: str, actor: str) -> AuditEvent:
        detail = f"{terminal.name}: {terminal.reason}" if terminal.reason else terminal.name
        now = self._clock.now()
        return AuditEvent(self._identifiers.new(), now, actor, action, f"terminal {terminal.id}", "done", detail=detail)
