"""Two platforms, a card and the provider's terminals for stories about transfers: what such tests do and look at."""

from collections.abc import Callable
from dataclasses import dataclass

from kms.card.keys import KeyType
from kms.card.profile import CardProfile
from kms.domain.audit import AuditEvent
from kms.domain.cards import CardState, DomainState
from kms.domain.hand_over import build_payload, parse_payload
from kms.domain.keys import Delivery, KeyState
from kms.domain.transfers import Envelope, HandOver, TransferState
from kms.domain.updates import UpdateReason, UpdateState
from kms.domain.visits import Terminal
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.key_store import compute_kcv
from terminal.virtual_card.personality import build_factory_state
from tests.fakes.agent import Agent
from tests.fakes.issuer import IDENTITY, ISD_AID, Issuer, build_issuer
from tests.fakes.provider import SSD, Provider, build_provider
from tests.fakes.scene import LoggingCard, Tamper, build_card_state

STRANGER_KEY = bytes(range(0x60, 0x70))


@dataclass
class TransferScene:
    """`build_transfer_scene` makes one. Visits get sessions of their own."""

    issuer: Issuer
    provider: Provider
    card: LoggingCard
    visits: int = 0

    def agent(
        self,
        *,
        tamper: Tamper | None = None,
        terminal: Terminal | None = None,
        card: VirtualCard | None = None,
        cookies: bool = True,
    ) -> Agent:
        agent = Agent(
            self.provider.visits, terminal or self.provider.terminal, card or self.card, IDENTITY, cookies=cookies
        )
        if tamper is not None:
            agent.tamper = tamper
        return agent

    def session(self) -> str:
        self.visits += 1
        return f"transfer-scene-{self.visits}"

    def visit(self, agent: Agent | None = None, session: str | None = None) -> str:
        """One visit to its end; returns what the terminal's user reads."""
        self.issuer.clock.move(minutes=1)
        return (agent or self.agent()).run(session or self.session()).notification

    def apply(self, agent: Agent | None = None) -> str:
        """The user applies for the application, and presents the card."""
        self.issuer.clock.move(minutes=1)
        return self.visit(agent, self.provider.apply())

    def hand_over(self) -> None:
        """Flow 3 whole."""
        assert self.apply() == "done"
        self.assert_handed_over()
        self.card.log.clear()

    def force(self, reason: UpdateReason = UpdateReason.FORCED) -> None:
        self.provider.updates.force(IDENTITY, SSD, actor="test", reason=reason)

    def assert_handed_over(self) -> None:
        """The SSD is under the provider's keys alone, and both sides know it."""
        assert self.provider.domain().state is DomainState.KEYED
        assert self.provider.last_update().state is UpdateState.DONE
        own = [s for s in self.provider.key_sets() if s.state is KeyState.ACTIVE and s.delivery is Delivery.PROVED]
        domain = self.card.state.find_domain(SSD)
        assert domain is not None
        held = [(item.kvn, tuple(map(compute_kcv, item.keys))) for item in domain.key_sets]
        assert held == [(item.kvn, item.kcvs) for item in own]
        assert self.provider.transfer().state is TransferState.CLOSED
        assert self.provider.transfer().envelope is None
        assert self.issuer.domain(SSD).state is DomainState.HANDED_OVER
        assert self.issuer.sets_in_force(SSD) == []
        assert [item.aid for item in self.card.state.domains] == [ISD_AID, SSD]

    def assert_reached(self, applications: int = 3) -> None:
        """The right owners reach the card by the normal path: flow 3 ends well, and then flow 5 without the issuer."""
        for _ in range(applications):
            if self.apply() == "done":
                break
        self.assert_handed_over()
        self.force()
        self.provider.line.disturb = self.cut
        assert self.visit() == "done"
        assert self.provider.last_update().state is UpdateState.DONE
        self.provider.line.disturb = lambda _name: None
        self.assert_handed_over()
        assert self.issuer.current_card().state is CardState.ENROLLED

    @staticmethod
    def cut(name: str) -> None:
        raise AssertionError(f"the issuer was called: {name}")

    def issue(self, change: Callable[[HandOver], HandOver]) -> None:
        """Let the issuer put something else into its envelopes, and sign it."""

        def change_envelope(envelope: Envelope) -> Envelope:
            return self.sign(build_payload(change(parse_payload(envelope.payload))))

        self.provider.line.change_envelope = change_envelope

    def sign(self, payload: bytes) -> Envelope:
        (object_id,) = self.issuer.vault.signing_keys
        return Envelope(payload, self.issuer.vault.sign(object_id, payload))

    def be_honest(self) -> None:
        self.provider.line.change_envelope = lambda envelope: envelope
        self.provider.line.change_order = lambda order: order

    def events(self, side: str, action: str) -> list[AuditEvent]:
        events = self.issuer.audit_events() if side == "issuer" else self.provider.audit_events()
        return [event for event in events if event.action == action]


def build_transfer_scene(
    *,
    scp_i: int | None = 0x55,
    scp03_i: int | None = None,
    vendor_type: KeyType = KeyType.DES2,
    recorded: bool = True,
    profile: CardProfile | None = None,
    ssd_key_type: KeyType = KeyType.AES128,
) -> TransferScene:
    """One card that the issuer enrolled, at the provider's terminal for the first time.

    `recorded` False: the card's file did not say which protocols it speaks. `ssd_key_type`: what the provider asks for.
    """
    issuer = build_issuer(
        scp_i=scp_i if recorded else None,
        scp03_i=scp03_i if recorded else None,
        vendor_type=vendor_type,
        profile=profile,
    )
    card = LoggingCard(build_card_state(0x01, scp_i, scp03_i, vendor_type))
    return TransferScene(issuer, build_provider(issuer, ssd_key_type=ssd_key_type), card)


def build_stranger() -> LoggingCard:
    """A card whose ISD has other keys."""
    return LoggingCard(build_factory_state((STRANGER_KEY, STRANGER_KEY, STRANGER_KEY)))
