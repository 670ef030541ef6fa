"""What a look found becomes the record: the best set counts, the rest is left over or gone."""

from kms.card.keys import DerivationPurpose
from kms.domain.keys import Delivery, KeyState
from kms.service.adopting import adopt, clear_away
from kms.service.card_record import CardRecord, load_card_record
from kms.service.settling import Settling
from tests.fakes.scene import SSD_AID, Scene, build_scene


def build_settling(scene: Scene) -> tuple[Settling, CardRecord]:
    issuer = scene.issuer
    with issuer.store.transaction() as tx:
        record = load_card_record(tx, tx.cards.get(issuer.card.id), [])
        book = tx.policies.load_book()
    return Settling(record, issuer.identifiers, issuer.clock.now(), "officer", lambda: book), record


def test_of_several_sets_the_operative_one_of_the_highest_generation_counts() -> None:
    scene = build_scene()
    scene.make_ssd()
    settling, record = build_settling(scene)
    domain = record.domains[scene.issuer.domain(SSD_AID).id]
    sets = {item.purpose: item for item in record.sets_of(domain)}
    initial, operative = sets[DerivationPurpose.SSD_INITIAL], sets[DerivationPurpose.SSD]
    in_force = {initial.id: 1, operative.id: 2}
    adopt(settling, domain, in_force, [])
    clear_away(settling, record.domains[domain.id], in_force)
    assert record.find_current_set(record.domains[domain.id]) == record.key_sets[operative.id]
    left = record.key_sets[initial.id]
    assert (left.delivery, left.state) == (Delivery.PROVED, KeyState.DEACTIVATED)  # to be deleted


def test_a_set_that_was_held_for_replaced_and_answers_is_in_force_again() -> None:
    scene = build_scene()
    scene.make_ssd()
    scene.force()
    scene.visit()
    settling, record = build_settling(scene)
    domain = record.domains[scene.issuer.domain(SSD_AID).id]
    old, new = [item for item in record.sets_of(domain) if item.purpose is DerivationPurpose.SSD]
    adopt(settling, domain, {old.id: 5}, [])
    clear_away(settling, record.domains[domain.id], {old.id: 5})
    assert record.find_current_set(record.domains[domain.id]) == record.key_sets[old.id]
    assert record.key_sets[new.id].delivery is Delivery.REPLACED
    assert record.domains[domain.id].last_generation == new.generation  # never given twice


def test_nothing_in_force_changes_nothing_until_it_is_known_that_the_look_was_whole() -> None:
    scene = build_scene()
    scene.make_ssd()
    settling, record = build_settling(scene)
    domain = record.domains[scene.issuer.domain(SSD_AID).id]
    before = dict(record.key_sets)
    adopt(settling, domain, {}, [])
    assert record.key_sets == before
    clear_away(settling, record.domains[domain.id], {})
    assert record.find_current_set(record.domains[domain.id]) is None
