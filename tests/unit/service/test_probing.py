"""Which key sets are looked for, and by which names."""

import pytest

from kms.card.keys import DerivationPurpose, KeyType
from kms.card.profile import CardProfile
from kms.domain.recovery import GENERATIONS_AHEAD
from kms.service.card_record import CardRecord, load_card_record
from kms.service.plan import Planner
from kms.service.probing import Derivable, build_probe, list_derivable, parse_label
from tests.fakes.scene import ISD_AID, SSD_AID, Scene, build_scene


@pytest.fixture
def scene() -> Scene:
    scene = build_scene()
    scene.make_ssd()
    return scene


def load(scene: Scene) -> tuple[Planner, CardRecord]:
    issuer = scene.issuer
    with issuer.store.transaction() as tx:
        record = load_card_record(tx, tx.cards.get(issuer.card.id), [])
    return Planner("issuer", CardProfile(name="default"), issuer.identifiers, issuer.clock.now()), record


@pytest.mark.parametrize(
    "derivable",
    [
        Derivable(0x21, KeyType.DES2, DerivationPurpose.SSD, "master-ssd", 17),
        Derivable(0xFF, KeyType.AES128, None, "master-vendor", 0),
    ],
)
def test_a_label_says_which_set_it_names(derivable: Derivable) -> None:
    assert parse_label(derivable.label) == derivable
    assert parse_label("0199-a-row-of-ours") is None


def test_after_a_restore_later_generations_are_looked_for_each_under_its_key_version(scene: Scene) -> None:
    planner, record = load(scene)
    domain = record.domains[scene.issuer.domain(SSD_AID).id]
    found = list(list_derivable(planner, record, domain, whole=False))
    of_ssd = [item for item in found if item.purpose is DerivationPurpose.SSD]
    first = domain.last_generation + 1
    assert [item.generation for item in of_ssd] == list(range(first, first + GENERATIONS_AHEAD))
    assert len({item.kvn for item in of_ssd}) == GENERATIONS_AHEAD
    assert {item.purpose for item in found} == {DerivationPurpose.SSD, DerivationPurpose.SSD_INITIAL}


def test_a_repair_looks_for_every_generation_and_for_the_vendors_keys(scene: Scene) -> None:
    planner, record = load(scene)
    isd = record.domains[scene.issuer.domain(ISD_AID).id]
    found = list(list_derivable(planner, record, isd, whole=True))
    assert {item.generation for item in found if item.purpose is DerivationPurpose.ISD} >= {1, GENERATIONS_AHEAD}
    assert [(item.kvn, item.purpose) for item in found if item.purpose is None] == [(0xFF, None)]


def test_what_is_on_record_is_asked_for_by_its_row_and_the_parents_sets_too(scene: Scene) -> None:
    planner, record = load(scene)
    domain = record.domains[scene.issuer.domain(SSD_AID).id]
    probe = build_probe(planner, record, domain, whole=False)
    assert probe is not None
    labels = [candidate.label for candidate in probe.question.candidates]
    assert {item.id for item in record.key_sets.values()} <= set(labels)
    assert len(labels) == len(set(labels))
