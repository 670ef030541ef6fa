"""Program states as JSON: every state comes back as it was, and nothing else is read."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kms.card.channel import ChannelParameters, ChannelState, Handshake, SecurityLevel
from kms.card.keys import (
    DerivationPurpose,
    DerivedKeys,
    Diversification,
    KcvMethod,
    KeySetRef,
    KeyType,
    VendorKeys,
    WrappedKeys,
)
from kms.card.programs.base import Candidate, Installs
from kms.card.programs.create_ssd import CreateSsd, SsdRecipe
from kms.card.programs.delete_keys import DeleteKeys
from kms.card.programs.probe import Probe
from kms.card.programs.recognize import Recognize
from kms.card.programs.reconcile import Reconcile
from kms.card.programs.replace_keys import ReplaceKeys
from kms.card.programs.state import ProgramState, dump_state, load_state
from kms.errors import Code, KmsError
from tests.unit.card.programs.runner import (
    MASTER,
    MASTERS,
    VENDOR,
    build_card,
    create_ssd,
    our_set,
    parameters,
    run,
    vendor_set,
)

aids = st.binary(min_size=5, max_size=16)
bytes8 = st.binary(min_size=8, max_size=8)
bytes16 = st.binary(min_size=16, max_size=16)
refs = st.builds(
    KeySetRef,
    kvn=st.integers(1, 255),
    key_type=st.sampled_from(KeyType),
    source=st.one_of(
        st.builds(VendorKeys, st.just(VENDOR), st.sampled_from(Diversification), st.binary(min_size=10, max_size=10)),
        st.builds(
            DerivedKeys,
            st.just(MASTER),
            st.sampled_from(["issuer", "provider 7"]),
            st.sampled_from(DerivationPurpose),
            st.binary(min_size=1, max_size=32),
            aids,
            st.integers(0, 2**32 - 1),
        ),
        st.builds(WrappedKeys, st.just(MASTER), st.tuples(*[st.binary(min_size=24, max_size=40)] * 3)),
    ),
)
candidates = st.builds(Candidate, label=st.text(max_size=36), ref=refs)
channel_parameters = st.builds(
    ChannelParameters,
    scp=st.sampled_from([2, 3]),
    i=st.integers(0, 255),
    level=st.sampled_from(SecurityLevel),
    aid=aids,
)
handshakes = st.builds(
    Handshake,
    host_challenge=bytes8 | bytes16,
    kdd=st.binary(min_size=10, max_size=10),
    kvn=st.integers(0, 255),
    scp=st.sampled_from([2, 3]),
    i=st.none() | st.integers(0, 255),
    sequence_counter=st.integers(0, 0xFFFFFF),
    card_challenge=st.binary(min_size=6, max_size=16),
    card_cryptogram=bytes8 | bytes16,
)
channels = st.none() | st.builds(
    ChannelState,
    handshake=handshakes,
    parameters=channel_parameters,
    key_set=refs,
    mac_chaining=st.binary(max_size=16),
    r_mac_chaining=st.binary(max_size=16),
    commands=st.integers(0, 9),
    unanswered=st.lists(st.binary(max_size=255), max_size=4).map(tuple),
)
installs = st.none() | st.builds(
    Installs,
    label=st.text(max_size=36),
    kcvs=st.lists(st.binary(min_size=3, max_size=3), max_size=3).map(tuple),
    kcv_method=st.sampled_from(KcvMethod),
)
recipes = st.builds(
    SsdRecipe,
    aid=aids,
    load_file_aid=aids,
    module_aid=aids,
    privileges=st.binary(min_size=1, max_size=3),
    install_parameters=st.binary(max_size=30),
    route=st.sampled_from(["store-data", "put-key"]),
    max_command_data=st.integers(32, 247),
    set_personalized=st.booleans(),
)
challenges = st.just(b"") | bytes16
reconciles = st.builds(
    Reconcile,
    parameters=channel_parameters,
    candidates=st.lists(candidates, max_size=4).map(tuple),
    others=st.lists(channel_parameters, max_size=1).map(tuple),
    host_challenge=challenges,
    kind=st.just("reconcile"),
)
states = st.one_of(
    st.builds(
        CreateSsd,
        parameters=channel_parameters,
        recipe=recipes,
        parent=candidates,
        initial=candidates,
        resume=st.booleans(),
        aes_block_form=st.sampled_from(["long", "short"]),
        stage=st.sampled_from(["opening", "making", "keying"]),
        host_challenge=challenges,
        channel=channels,
        sent=st.lists(st.text(max_size=30), max_size=6).map(tuple),
        initial_parameters=st.none() | channel_parameters,
        kind=st.just("create-ssd"),
    ),
    st.builds(
        ReplaceKeys,
        parameters=channel_parameters,
        current=candidates,
        new=candidates,
        add=st.booleans(),
        aes_block_form=st.sampled_from(["long", "short"]),
        host_challenge=challenges,
        channel=channels,
        installs=installs,
        new_parameters=st.none() | channel_parameters,
        kind=st.just("replace-keys"),
    ),
    st.builds(
        DeleteKeys,
        parameters=channel_parameters,
        current=candidates,
        old_kvn=st.integers(1, 255),
        by_kvn=st.booleans(),
        host_challenge=challenges,
        channel=channels,
        kind=st.just("delete-keys"),
    ),
    reconciles,
    st.builds(Probe, question=reconciles, kind=st.just("probe")),
    st.builds(Recognize, aid=aids, kind=st.just("recognize")),
)


@given(states)
def test_every_state_comes_back_as_it_was(state: ProgramState) -> None:
    assert load_state(dump_state(state)) == state


def test_states_hold_no_key_value() -> None:
    for program in (create_ssd(), create_ssd("put-key"), ReplaceKeys(parameters(), vendor_set(), our_set(1))):
        for state in run(program, build_card()).states:
            text = dump_state(state)
            assert all(value.hex() not in text.lower() for value in MASTERS.values())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "{}",
        "[]",
        '{"kind": "replace-keys"}',
        '{"kind": "brew-coffee"}',
        dump_state(ReplaceKeys(parameters(), vendor_set(), our_set(1)))[:-1],
    ],
)
def test_foreign_text_is_refused(text: str) -> None:
    with pytest.raises(KmsError) as caught:
        load_state(text)
    assert caught.value.code is Code.VISIT_CONFLICT


@pytest.mark.parametrize("change", [{"later": 1}, {"kind": "delete-keys"}, {"add": "perhaps"}, {"current": None}])
def test_a_state_with_a_field_more_or_of_another_kind_is_refused(change: dict[str, object]) -> None:
    document = json.loads(dump_state(ReplaceKeys(parameters(), vendor_set(), our_set(1))))
    with pytest.raises(KmsError) as caught:
        load_state(json.dumps(document | change))
    assert caught.value.code is Code.VISIT_CONFLICT


def test_a_state_of_an_earlier_program_version_without_a_needed_field_is_refused() -> None:
    document = json.loads(dump_state(replace(create_ssd(), resume=True)))
    del document["recipe"]["module_aid"]
    with pytest.raises(KmsError):
        load_state(json.dumps(document))
