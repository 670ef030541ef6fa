"""Both audit logs tell the same story of a transfer, in the same order, with the same check values."""

from kms.domain.audit import AuditEvent
from kms.domain.updates import UpdateReason
from tests.fakes.transfer_scene import TransferScene, build_transfer_scene

# What each side writes of the same fact, in the order in which it happens.
STORY = (
    ("asked for", ("provider", "transfer.request", "asked for")),
    ("admitted", ("issuer", "transfer.request", "admitted")),
    ("proved", ("issuer", "transfer.prove", "initial keys in force")),
    ("handed over", ("issuer", "transfer.hand-over", "issued")),
    ("received", ("provider", "transfer.receive", "handed over by issuer")),
    ("controlled", ("provider", "transfer.control", "our own keys in force, envelope destroyed")),
    ("accepted", ("issuer", "transfer.control", "accepted by the provider")),
    ("closed", ("provider", "transfer.close", "heard by issuer")),
)


def tell(scene: TransferScene, transfer_id: str) -> list[tuple[str, AuditEvent]]:
    """The events of one transfer on both sides, by time and, at the same moment, as the story goes."""
    sides = {"issuer": scene.issuer.audit_events(), "provider": scene.provider.audit_events()}
    return [
        (name, event)
        for name, (side, action, result) in STORY
        for event in sides[side]
        if (event.action, event.result) == (action, result) and transfer_id in event.subject + event.detail
    ]


def check_story(scene: TransferScene) -> None:
    story = tell(scene, scene.provider.transfer().id)
    assert [name for name, _ in story] == [name for name, _ in STORY]
    times = [event.at for _, event in story]
    assert times == sorted(times)
    told = dict(story)
    kcvs = [told[name].kcv for name in ("proved", "handed over", "received", "accepted")]
    assert kcvs[0] != ""
    assert len(set(kcvs)) == 1
    for _, event in story:
        assert scene.issuer.card.identity.hex().upper() in event.detail


def test_flow_3_is_told_alike() -> None:
    scene = build_transfer_scene()
    scene.hand_over()
    check_story(scene)


def test_a_re_keying_is_told_alike_and_apart_from_what_was_before() -> None:
    scene = build_transfer_scene()
    scene.hand_over()
    first = scene.provider.transfer().id
    scene.issuer.clock.move(minutes=1)
    scene.force(UpdateReason.COMPROMISE)
    assert scene.visit() == "done"
    assert scene.provider.transfer().id != first
    check_story(scene)
    assert len(tell(scene, first)) == len(STORY)


def test_each_side_names_the_initial_set_by_the_same_check_values_as_the_card() -> None:
    scene = build_transfer_scene()
    scene.hand_over()
    (proved,) = [event for event in scene.events("issuer", "key-set.prove") if "key version 20" in event.detail]
    (received,) = scene.events("provider", "transfer.receive")
    assert proved.kcv == received.kcv
