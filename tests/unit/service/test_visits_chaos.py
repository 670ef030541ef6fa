"""Terminals that do anything at all, by a seeded dice: afterwards honest visits bring every card into step."""

import random
from dataclasses import replace

import pytest

from kms.card.profile import CardProfile
from kms.domain.cards import CardState
from kms.domain.orders import AgentStatus, Order, Report
from kms.domain.updates import OPEN_STATES
from kms.errors import Code, KmsError
from terminal.virtual_card.personality import Personality
from tests.fakes.agent import VOID, Agent
from tests.fakes.scene import ISD_AID, SSD_AID, Scene, build_scene

CARDS = 40
STATUS_WORDS = (b"\x90\x00", b"\x6a\x84", b"\x6a\x88", b"\x6a\x82", b"\x69\x85", b"\x69\x82", b"\x63\x00", b"")


class Chaos:
    """One lawless terminal with a memory of all that went to and from the card."""

    def __init__(self, scene: Scene, dice: random.Random) -> None:
        self.scene = scene
        self.dice = dice
        self.commands: list[tuple[bytes, ...]] = []
        self.answers: list[bytes] = [b"\x90\x00"]

    def visit(self) -> None:
        terminal = self.dice.choice((self.scene.issuer.terminal, self.scene.issuer.other_terminal))
        agent = self.scene.agent(terminal=terminal)
        session = self.scene.session()
        self.scene.card.reset()
        agent.handshake(session)
        self.report(agent, session)

    def report(self, agent: Agent, session: str) -> None:
        order, report = None, VOID
        for _ in range(self.dice.randrange(1, 14)):
            order = agent.report(session, report)
            if order.stop:
                return
            self.commands.append(order.commands)
            report = self.answer(order)
            if self.dice.random() < 0.02:
                self.scene.issuer.clock.move(minutes=6)

    def answer(self, order: Order) -> Report:
        if self.dice.random() < 0.09:
            self.replay()
        answers = [self.transmit(command) for command in order.commands]
        if self.dice.random() < 0.05:
            answers = answers[:-1]
        cookie = order.number if self.dice.random() < 0.85 else self.dice.choice((None, 0, order.number - 1))
        status = AgentStatus.PROCESSED if self.dice.random() < 0.9 else self.dice.choice(list(AgentStatus))
        return Report(status, cookie, tuple(answers) if self.dice.random() < 0.95 else ())

    def transmit(self, command: bytes) -> bytes:
        if self.dice.random() < 0.09:
            return self.dice.choice(STATUS_WORDS)
        if self.dice.random() < 0.02:
            self.scene.card.reset()
        answer = self.scene.card.transmit(command)
        self.answers.append(answer)
        fate = self.dice.random()
        if fate < 0.09:
            return self.dice.choice(STATUS_WORDS)
        if fate < 0.07:
            return self.dice.choice(self.answers)
        if fate < 0.09 and len(answer) > 2:
            return answer[:-3] + bytes([answer[-3] ^ 1]) + answer[-2:]
        return answer

    def replay(self) -> None:
        """Play some earlier batches to the card, in their order, as if it had never seen them."""
        self.scene.card.reset()
        for batch in self.commands[-self.dice.randrange(1, 5) :]:
            for command in batch:
                self.scene.card.transmit(command)


def release(scene: Scene) -> None:
    """Officers look at what was set aside and let it be served again."""
    issuer = scene.issuer
    with issuer.store.transaction() as tx:
        for terminal in (issuer.terminal, issuer.other_terminal):
            tx.terminals.save(terminal)
        tx.cards.save(replace(tx.cards.get(issuer.card.id), state=CardState.ENROLLED))


def force_if_keyed(scene: Scene, aid: bytes) -> None:
    try:
        scene.force(aid)
    except KmsError as error:
        if error.code not in (Code.KEY_STATE, Code.NOT_FOUND):
            raise


def bring_into_step(scene: Scene) -> None:
    """What officers and honest terminals do afterwards: no more than to enable, ask again, and present the card."""
    issuer = scene.issuer
    for _ in range(6):
        for aid in (ISD_AID, SSD_AID):
            force_if_keyed(scene, aid)
        scene.visit(session=scene.apply())
        if all(issuer.last_update(aid).state not in OPEN_STATES for aid in (ISD_AID, SSD_AID)):
            break
    scene.assert_in_step(ISD_AID)
    scene.assert_in_step(SSD_AID)


@pytest.mark.parametrize("seed", range(CARDS))
def test_whatever_terminals_did_honest_visits_bring_the_card_into_step(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a dice that falls the same way each time
    scp_i = dice.choice((0x15, 0x35, 0x55, 0x75))
    # Without a challenge that is bound to the AID, who drops a SELECT can have PUT KEY under the parent's keys put an
    # SSD's keys into the parent; nothing on the card side tells (see the planner).
    routes = ("store-data", "put-key") if scp_i & 0x40 else ("store-data",)
    scene = build_scene(
        kvn=dice.choice((0x01, 0xFF, 0x20)),
        scp_i=scp_i,
        profile=CardProfile(
            name="default",
            initial_key_route=dice.choice(routes),
            security_level=dice.choice((1, 3)),
            r_mac=dice.random() < 0.5,
        ),
        personality=Personality(keep_factory_set=True),
    )
    chaos = Chaos(scene, dice)
    for _ in range(dice.randrange(4, 14)):
        if dice.random() < 0.4:
            scene.force(ISD_AID)
        if dice.random() < 0.7:
            scene.apply()
        if dice.random() < 0.3 and scene.card.kvns(SSD_AID):
            force_if_keyed(scene, SSD_AID)
        scene.issuer.clock.move(minutes=1)
        chaos.visit()
        release(scene)
    bring_into_step(scene)
