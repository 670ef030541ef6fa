"""Security domains and their key sets as values."""

from dataclasses import replace

from terminal.virtual_card import KEY_TYPE_AES, KeySet, SecurityDomain, StaticKey, build_factory_state
from tests.unit.terminal.virtual_card.host import KEY, NEW_KEYS


def test_a_changed_key_takes_its_place_and_resets_the_counter() -> None:
    key_set = KeySet(0x20, (StaticKey(1, 0x80, KEY), StaticKey(3, 0x80, KEY)), sequence_counter=5)
    assert not key_set.has_scp_keys
    changed = key_set.with_keys((StaticKey(2, 0x80, NEW_KEYS[1]),))
    assert [key.kid for key in changed.keys] == [1, 2, 3]
    assert changed.has_scp_keys
    assert changed.sequence_counter == 0


def test_the_owner_of_the_keys_is_the_nearest_domain_that_has_any() -> None:
    state = build_factory_state()
    isd = state.isd
    middle = SecurityDomain(b"middle", isd.aid, 0x0F, isd.privileges, isd.key_sets)
    leaf = SecurityDomain(b"leaf!", middle.aid, 0x07, isd.privileges)
    root = SecurityDomain(b"root!", b"root!", 0x0F, isd.privileges)
    state = replace(state, domains=(isd, middle, leaf, root))
    assert [item.aid for item in state.iter_ancestors(leaf)] == [middle.aid, isd.aid]
    assert state.get_key_owner(leaf).aid == middle.aid
    assert state.get_key_owner(middle).aid == middle.aid
    assert state.get_key_owner(root).aid == root.aid


def test_a_domain_whose_parent_is_gone_has_no_ancestors() -> None:
    state = build_factory_state()
    orphan = SecurityDomain(b"orphan", b"nobody", 0x07, bytes(3))
    assert list(state.iter_ancestors(orphan)) == []


def test_an_aes_set_keeps_its_counter_when_a_part_of_it_changes() -> None:
    keys = tuple(StaticKey(kid, KEY_TYPE_AES, KEY) for kid in (1, 2, 3))
    key_set = KeySet(0x30, keys, sequence_counter=5)
    assert key_set.with_keys(keys[:2]).sequence_counter == 5
    assert key_set.with_keys(keys).sequence_counter == 0
    assert key_set.with_keys((StaticKey(1, 0x80, KEY),)).sequence_counter == 0


def test_which_protocol_a_set_opens() -> None:
    des = KeySet(0x20, tuple(StaticKey(kid, 0x80, KEY) for kid in (1, 2, 3)))
    aes = KeySet(0x30, tuple(StaticKey(kid, KEY_TYPE_AES, KEY) for kid in (1, 2, 3)))
    assert (des.is_scp02_set, des.is_scp03_set) == (True, False)
    assert (aes.is_scp02_set, aes.is_scp03_set) == (False, True)
    mixed = aes.with_keys((StaticKey(3, 0x80, KEY),))
    assert (mixed.is_scp02_set, mixed.is_scp03_set) == (False, False)
