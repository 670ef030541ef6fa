"""Two visits of one card at two terminals: whichever lies or is dead, the one that has the card wins."""

import pytest

from kms.domain.orders import AgentStatus, Order, Report
from kms.domain.visits import VisitState
from tests.fakes.agent import VOID, Agent
from tests.fakes.scene import SSD_AID, Scene, build_scene

WAYS = ("before the opening", "before the keys", "after the keys")


@pytest.fixture
def scene() -> Scene:
    scene = build_scene()
    scene.make_ssd()
    scene.force()
    return scene


def leave(scene: Scene, way: str, *, reached_card: bool) -> tuple[Agent, Order]:
    """A visit at the first terminal that stops somewhere; the Order that it holds, sent to the card or withheld."""
    agent = scene.agent()
    agent.card.reset()
    agent.handshake("first")
    order = agent.report("first", VOID)
    if way == "before the opening":
        return agent, order
    order = agent.report("first", agent.answer(order))
    if way == "after the keys" and reached_card:
        agent.transmit(order.commands)
    return agent, order


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("reached_card", [True, False])
def test_the_first_terminal_died_and_the_second_has_the_card(scene: Scene, way: str, reached_card: bool) -> None:
    leave(scene, way, reached_card=reached_card)
    assert scene.visit(scene.agent(terminal=scene.issuer.other_terminal), "second") == "done"
    scene.assert_in_step()
    with scene.issuer.store.transaction() as tx:
        first = tx.visits.find_by_session("first")
    assert first is not None
    assert first.state is VisitState.FENCED
    assert (first.order, first.program) == (None, None)


@pytest.mark.parametrize("way", WAYS)
def test_what_the_first_terminal_reports_after_it_was_fenced_changes_nothing(scene: Scene, way: str) -> None:
    agent, order = leave(scene, way, reached_card=True)
    assert scene.visit(scene.agent(terminal=scene.issuer.other_terminal), "second") == "done"
    before = scene.issuer.key_sets(SSD_AID)
    for answers in ((b"\x90\x00",) * len(order.commands), tuple(agent.transmit(order.commands))):
        ended = agent.report("first", Report(AgentStatus.PROCESSED, order.number, answers))
        assert ended.stop
    assert scene.issuer.key_sets(SSD_AID) == before
    scene.assert_reached()


@pytest.mark.parametrize("way", WAYS)
def test_a_second_terminal_that_has_no_card_and_lies_fences_nobody(scene: Scene, way: str) -> None:
    agent, order = leave(scene, way, reached_card=False)
    liar = scene.agent(
        terminal=scene.issuer.other_terminal,
        tamper=lambda _order, answers: [b"\x6a\x82" for _ in answers],
        card=build_scene(card_key=bytes(16)).card,  # some other card, or a made-up one
    )
    liar.card.reset()
    liar.handshake("second")
    second = liar.report("second", VOID)
    liar.report("second", liar.answer(second))
    # The first goes on: its card is there.
    agent.report("first", agent.answer(order))
    for _ in range(3):
        if scene.visit() == "done":
            break
    scene.assert_reached()
    scene.assert_not_set_aside()


def test_a_withheld_batch_that_comes_after_the_second_visit_finds_the_same_keys_or_none(scene: Scene) -> None:
    agent, order = leave(scene, "before the keys", reached_card=False)
    assert scene.visit(scene.agent(terminal=scene.issuer.other_terminal), "second") == "done"
    kvns = scene.card.kvns(SSD_AID)
    agent.card.reset()
    agent.transmit(order.commands)
    assert scene.card.kvns(SSD_AID) == kvns
    scene.assert_in_step()
    scene.assert_reached()
