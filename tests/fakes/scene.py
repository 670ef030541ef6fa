"""A platform, a card and terminals for stories about visits: short words for what such tests do and look at."""

from collections.abc import Callable
from dataclasses import dataclass, field

from kms.card.keys import KeyType
from kms.card.profile import CardProfile
from kms.domain.cards import CardState as RecordState
from kms.domain.orders import Order
from kms.domain.updates import UpdateState
from kms.domain.visits import Terminal, TerminalState, VisitEvent
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.diversification import Diversification, derive_card_keys
from terminal.virtual_card.model import KEY_TYPE_AES, KEY_TYPE_DES, CardState
from terminal.virtual_card.personality import Personality, build_factory_state
from tests.fakes.agent import Agent
from tests.fakes.issuer import APPLICATION_AID, IDENTITY, ISD_AID, KDD, SSD_AID, Issuer, build_issuer, build_vendor_key

EXTERNAL_AUTHENTICATE = 0x82
Tamper = Callable[[Order, list[bytes]], list[bytes]]


class LoggingCard(VirtualCard):
    """A card that keeps what it was sent, resets left out."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type] # passed on as they are
        self.log: list[bytes] = []

    def transmit(self, command: bytes) -> bytes:
        self.log.append(command)
        return super().transmit(command)

    def count(self, ins: int) -> int:
        return sum(command[1] == ins for command in self.log)

    def kvns(self, aid: bytes) -> list[int]:
        return [s.kvn for domain in self.state.domains if domain.aid == aid for s in domain.key_sets]

    def keys(self, aid: bytes) -> list[tuple[bytes, ...]]:
        domain = self.state.find_domain(aid)
        return [tuple(key.value for key in s.keys) for s in domain.key_sets] if domain else []


@dataclass
class Scene:
    """`build_scene` makes one. Visits get sessions of their own."""

    issuer: Issuer
    card: LoggingCard
    visits: int = field(default=0)

    def agent(
        self,
        *,
        tamper: Tamper | None = None,
        terminal: Terminal | None = None,
        card: VirtualCard | None = None,
        cookies: bool = True,
    ) -> Agent:
        agent = Agent(
            self.issuer.visits, terminal or self.issuer.terminal, card or self.card, IDENTITY, cookies=cookies
        )
        if tamper is not None:
            agent.tamper = tamper
        return agent

    def session(self) -> str:
        self.visits += 1
        return f"scene-{self.visits}"

    def apply(self) -> str:
        return self.issuer.applications.apply(self.issuer.terminal, IDENTITY, APPLICATION_AID).session_id

    def force(self, aid: bytes = SSD_AID) -> None:
        self.issuer.updates.force(IDENTITY, aid, actor="test")

    def visit(self, agent: Agent | None = None, session: str | None = None) -> str:
        """One visit to its end; returns what the terminal's user reads."""
        self.issuer.clock.move(minutes=1)
        return (agent or self.agent()).run(session or self.session()).notification

    def make_ssd(self) -> None:
        """Flow 2 whole: the SSD under operative keys 21."""
        assert self.visit(session=self.apply()) == "done"
        self.card.log.clear()

    def events(self, session: str) -> list[VisitEvent]:
        with self.issuer.store.transaction() as tx:
            visit = tx.visits.find_by_session(session)
            assert visit is not None
            return list(tx.visits.list_events(visit.id))

    def journal(self, session: str) -> list[str]:
        return [event.kind for event in self.events(session)]

    def terminal_state(self, name: str = "counter-1") -> TerminalState:
        with self.issuer.store.transaction() as tx:
            terminal = tx.terminals.find_by_name(name)
        assert terminal is not None
        return terminal.state

    def assert_in_step(self, aid: bytes = SSD_AID) -> None:
        """The last update is done, and card and platform agree about one key set with the same check values."""
        assert self.issuer.last_update(aid).state is UpdateState.DONE
        assert len(self.card.kvns(aid)) == 1
        assert self.issuer.sets_in_force(aid) == self.card.kvns(aid)

    def assert_reached(self, aid: bytes = SSD_AID, visits: int = 2) -> None:
        """The right owner reaches the card by the normal path: what is open gets done, and one more rotation works."""
        for _ in range(visits):
            if self.issuer.last_update(aid).state is not UpdateState.DONE:
                self.visit()
        self.assert_in_step(aid)
        self.force(aid)
        assert self.visit() == "done"
        self.assert_in_step(aid)

    def assert_not_set_aside(self) -> None:
        assert self.issuer.current_card().state is RecordState.ENROLLED


def build_scene(
    *,
    kvn: int = 0x01,
    scp_i: int | None = 0x55,
    scp03_i: int | None = None,
    vendor_type: KeyType = KeyType.DES2,
    ssd_key_type: KeyType = KeyType.AES128,
    recorded: bool = True,
    profile: CardProfile | None = None,
    personality: Personality | None = None,
    card_key: bytes | None = None,
    entropy: Callable[[int], bytes] | None = None,
) -> Scene:
    """`card_key`: the value of the card's three factory keys; another than the vendor's master makes a stranger.

    `recorded` False: the card's file did not say which protocols it speaks.
    """
    card = LoggingCard(build_card_state(kvn, scp_i, scp03_i, vendor_type, card_key), personality)
    issuer = build_issuer(
        kvn=kvn,
        scp_i=scp_i if recorded else None,
        scp03_i=scp03_i if recorded else None,
        vendor_type=vendor_type,
        ssd_key_type=ssd_key_type,
        profile=profile,
        entropy=entropy,
    )
    return Scene(issuer, card)


def build_card_state(
    kvn: int, scp02_i: int | None, scp03_i: int | None, vendor_type: KeyType, card_key: bytes | None = None
) -> CardState:
    """A card as its vendor delivers it."""
    scheme = Diversification.KDF3 if vendor_type.is_aes else Diversification.NONE
    keys = derive_card_keys(build_vendor_key(vendor_type), KDD, scheme)
    if card_key is not None:
        keys = (card_key, card_key, card_key)
    key_type = KEY_TYPE_AES if vendor_type.is_aes else KEY_TYPE_DES
    return build_factory_state(keys, key_type=key_type, kvn=kvn, scp02_i=scp02_i, scp03_i=scp03_i, kdd=KDD)


def change_answer(number: int, index: int, answer: Callable[[bytes], bytes]) -> Tamper:
    """Lie about one answer of one Order."""

    def tamper(order: Order, answers: list[bytes]) -> list[bytes]:
        if order.number == number and index < len(answers):
            answers[index] = answer(answers[index])
        return answers

    return tamper


def sw(value: int) -> Callable[[bytes], bytes]:
    return lambda _answer: value.to_bytes(2, "big")


__all__ = ["ISD_AID", "SSD_AID", "LoggingCard", "Scene", "build_card_state", "build_scene", "change_answer", "sw"]
