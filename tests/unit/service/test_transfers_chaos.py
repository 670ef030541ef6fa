"""A provider's terminals that do anything at all, and a line that comes and goes, by a seeded dice.

Afterwards honest visits bring both platforms and the card into step: the SSD is the provider's alone.
"""

import random
from contextlib import suppress
from dataclasses import replace

import pytest

from kms.card.profile import CardProfile
from kms.domain.cards import CardState, DomainState
from kms.domain.keys import Delivery
from kms.domain.updates import UpdateReason, UpdateState
from kms.errors import Code, KmsError
from tests.fakes.issuer import IDENTITY
from tests.fakes.transfer_scene import TransferScene, build_transfer_scene
from tests.unit.service.test_visits_chaos import Chaos

CARDS = 30


class TransferChaos(Chaos):
    """The same lawless terminal at the provider's."""

    def __init__(self, scene: TransferScene, dice: random.Random) -> None:
        super().__init__(scene, dice)  # type: ignore[arg-type] # of a scene it uses what both kinds have
        self.transfers = scene
        scene.provider.line.disturb = self.disturb

    def disturb(self, _name: str) -> None:
        if self.dice.random() < 0.07:
            raise KmsError(Code.PEER_UNREACHABLE, "away: try again")

    def visit(self) -> None:
        provider = self.transfers.provider
        terminal = self.dice.choice((provider.terminal, provider.other_terminal))
        agent = self.transfers.agent(terminal=terminal)
        self.transfers.card.reset()
        try:
            session = provider.apply() if self.dice.random() < 0.5 else self.transfers.session()
            agent.handshake(session)
            self.report(agent, session)
        except KmsError as error:
            if error.code not in (Code.PEER_UNREACHABLE, Code.PEER_REFUSED, Code.CARD_UNKNOWN, Code.SESSION_UNKNOWN):
                raise


def release(scene: TransferScene) -> None:
    """Officers of both platforms look at what was set aside and let it be served again."""
    with scene.issuer.store.transaction() as tx:
        tx.cards.save(replace(tx.cards.get(scene.issuer.card.id), state=CardState.ENROLLED))
        counterpart = tx.terminals.find_by_name("peer provider")
        if counterpart is not None:
            tx.terminals.save(replace(counterpart, state=scene.issuer.terminal.state, reason=""))
    with scene.provider.store.transaction() as tx:
        for terminal in (scene.provider.terminal, scene.provider.other_terminal):
            tx.terminals.save(terminal)
        card = tx.cards.find_by_identity(IDENTITY)
        if card is not None:
            tx.cards.save(replace(card, state=CardState.ENROLLED))


@pytest.mark.parametrize("seed", range(CARDS))
def test_whatever_terminals_and_the_line_did_the_card_is_its_providers(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - a dice that falls the same way each time
    profile = CardProfile(name="default", security_level=dice.choice((1, 3)), r_mac=dice.random() < 0.5)
    scene = build_transfer_scene(scp_i=dice.choice((0x55, 0x75)), profile=profile)
    chaos = TransferChaos(scene, dice)
    for _ in range(dice.randrange(4, 16)):
        scene.issuer.clock.move(minutes=1)
        chaos.visit()
        release(scene)
        with suppress(KmsError, AssertionError):
            if dice.random() < 0.3:
                scene.force(dice.choice((UpdateReason.FORCED, UpdateReason.COMPROMISE)))
    scene.provider.line.disturb = lambda _name: None
    for _ in range(6):
        scene.apply()
        if scene.provider.last_update().state is UpdateState.DONE:
            break
        if scene.provider.domain().state is DomainState.KEYED:
            with suppress(KmsError):
                scene.force()  # an officer asks again for what terminals brought to its end by refusing
    scene.assert_handed_over()
    unsettled = [item for item in scene.provider.key_sets() if item.delivery in (Delivery.IN_FLIGHT, Delivery.IN_DOUBT)]
    assert unsettled == []
    scene.assert_reached()
