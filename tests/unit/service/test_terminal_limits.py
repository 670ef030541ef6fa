"""A terminal that is limited to cards and security domains: in handshakes, applications and visits."""

from dataclasses import replace

import pytest

from kms.domain.terminal_limits import NO_LIMITS, CardSpan, TerminalLimits
from kms.domain.updates import UpdateState
from kms.errors import Code, KmsError
from kms.service.terminals import TerminalService
from tests.fakes.agent import VOID
from tests.fakes.issuer import APPLICATION_AID, IDENTITY
from tests.fakes.scene import ISD_AID, SSD_AID, Scene, build_scene

OTHERS = TerminalLimits(cards=(CardSpan(bytes(15), bytes(15)),))


@pytest.fixture
def scene() -> Scene:
    scene = build_scene()
    scene.make_ssd()
    return scene


def refuse(act: object) -> Code:
    with pytest.raises(KmsError) as error:
        act()  # type: ignore[operator] # a function of the test
    return error.value.code


def test_a_card_beyond_the_limits_is_not_served(scene: Scene) -> None:
    limited = replace(scene.issuer.terminal, limits=OTHERS)
    scene.force()
    assert refuse(lambda: scene.visit(scene.agent(terminal=limited))) is Code.TERMINAL_NOT_ALLOWED
    apply = scene.issuer.applications.apply
    assert refuse(lambda: apply(limited, IDENTITY, APPLICATION_AID)) is Code.TERMINAL_NOT_ALLOWED


def test_an_application_for_a_security_domain_beyond_the_limits_is_refused(scene: Scene) -> None:
    limited = replace(scene.issuer.terminal, limits=TerminalLimits(aids=(ISD_AID,)))
    apply = scene.issuer.applications.apply
    assert refuse(lambda: apply(limited, IDENTITY, APPLICATION_AID)) is Code.TERMINAL_NOT_ALLOWED


def test_updates_beyond_the_limits_wait_for_another_terminal(scene: Scene) -> None:
    scene.force(SSD_AID)
    scene.force(ISD_AID)
    limited = replace(scene.issuer.terminal, limits=TerminalLimits(aids=(SSD_AID,)))
    assert scene.visit(scene.agent(terminal=limited)) == "done"
    scene.assert_in_step(SSD_AID)
    assert scene.issuer.last_update(ISD_AID).state is UpdateState.PENDING
    assert scene.visit() == "done"
    scene.assert_in_step(ISD_AID)


def test_limits_that_come_in_the_middle_of_a_visit_end_it(scene: Scene) -> None:
    scene.force()
    agent = scene.agent()
    agent.card.reset()
    agent.handshake("begun")
    order = agent.report("begun", VOID)
    agent.terminal = replace(agent.terminal, limits=OTHERS)
    ended = agent.report("begun", agent.answer(order))
    assert ended.stop
    assert "may not serve this card" in ended.notification
    scene.assert_reached()


def test_officers_set_and_lift_limits(scene: Scene) -> None:
    issuer = scene.issuer
    terminals = TerminalService(store=issuer.store, clock=issuer.clock, identifiers=issuer.identifiers)
    assert terminals.limit("counter-1", OTHERS, actor="officer").limits == OTHERS
    assert terminals.authenticate(b"\x01" * 32).limits == OTHERS
    assert terminals.limit("counter-1", NO_LIMITS, actor="officer").limits == NO_LIMITS
    assert issuer.audit_actions()[-2:] == ["terminal.limit", "terminal.limit"]
    many = TerminalLimits(aids=tuple(bytes([number, 0, 0, 0, 0]) for number in range(201)))
    assert refuse(lambda: terminals.limit("counter-1", many, actor="officer")) is Code.INPUT_INVALID
    assert refuse(lambda: terminals.limit("nowhere", OTHERS, actor="officer")) is Code.NOT_FOUND
    terminals.revoke("counter-1", reason="lost", actor="officer")
    assert refuse(lambda: terminals.limit("counter-1", OTHERS, actor="officer")) is Code.CONFLICT
