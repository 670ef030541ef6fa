"""No key crosses a boundary that it must not cross: take-over, all four flows and the move to AES, on both tokens.

Cards of SCP02 and SCP03 (S8 and S16, AES-128 and AES-256) play them, watched from every side. What is searched for:
every key that a card ever held, every key of every session, the manufacturers' masters and their components; in every
form that `tests/key_boundary/search.py` knows. Where: every value that crossed between the programs and their tokens,
all files of both platforms (SQLite and PostgreSQL) while visits run and afterwards, all that TLS carried, all that
commands printed, the memory of `kms-terminal` while it holds an Order, and that of the servers then and afterwards.
What crosses at the token is known to the last value.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.installation import NSS_LIBRARY
from terminal.virtual_card.model import CardState, StaticKey
from tests.fakes.nss_tokens import INSTALL
from tests.key_boundary.cards import ISSUER, KINDS, PROVIDER
from tests.key_boundary.crossings import Account, account_for, count_blocks_read
from tests.key_boundary.platforms import SPY
from tests.key_boundary.scene import HELD, Scene, play
from tests.key_boundary.search import RAW, Finding, Searcher, find_whole_keys

KEYS_IN_A_SET = 3
VENDORS = 3  # masters: triple DES, AES-128, AES-256
READ_OF_A_MASTER = 3  # blocks at most; kms/hsm/readable.py names them

# The scene drives cards in a reader, and takes as long as setting up two platforms does.
pytestmark = [pytest.mark.pcsc, pytest.mark.timeout(300)]


@pytest.fixture(scope="module", params=["softhsm2", "nss"])
def token(request: pytest.FixtureRequest) -> str:
    """The make of both platforms' tokens. NSS wraps triple DES keys by itself, SoftHSM2 does not."""
    make: str = request.param
    if make == "nss" and not NSS_LIBRARY.exists():
        pytest.skip(f"NSS is not installed: {INSTALL}")
    return make


@pytest.fixture(scope="module")
def scene(token: str) -> Iterator[Scene]:
    if not SPY.exists():
        pytest.skip("pkcs11-spy is not installed: apt-get install opensc-pkcs11")
    folder = Path(tempfile.mkdtemp(prefix="kms-"))
    try:
        yield play(folder, token)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def searcher(scene: Scene) -> Searcher:
    keys = scene.list_keys()
    held = {key.value for card in scene.cards for state in card.card.states for key in _list_keys(state)}
    assert held <= set(keys.values())  # no name stands for two
    for card in scene.cards:
        # The factory's, two or three sets of the ISD and each SSD; a channel for each visit and each proof.
        assert len(set(card.list_static_keys().values())) >= 7 * KEYS_IN_A_SET, card.kind.name
        assert len(card.card.openings) > 2 * len(card.kind.flows), card.kind.name
    return Searcher(keys)


def _list_keys(state: CardState) -> Iterator[StaticKey]:
    return (key for domain in state.domains for key_set in domain.key_sets for key in key_set.keys)


@pytest.fixture(scope="module")
def accounts(scene: Scene) -> dict[str, Account]:
    """What crossed, by process: the commands and the server of each platform."""
    logs = {
        f"{site.name}'s {what}": log
        for site in scene.sites
        for what, log in (("commands", site.commands_log), ("server", site.server_log))
    }
    return {name: account_for(log.read_text()) for name, log in logs.items()}


def test_every_flow_wrote_the_keys_that_it_should(scene: Scene) -> None:
    expected = {
        (kind.name, flow): [command for _, command in written] for kind in KINDS for flow, written in kind.flows.items()
    }
    assert scene.sent == expected


def test_the_token_is_the_one_that_is_meant(scene: Scene, token: str) -> None:
    strategy = "native" if token == "nss" else "transient"
    assert scene.strategies == {ISSUER: strategy, PROVIDER: strategy}


def test_nothing_crosses_at_the_token_but_what_is_documented(accounts: dict[str, Account], searcher: Searcher) -> None:
    for name, account in accounts.items():
        assert account.calls > 200, name
        assert account.unexplained == [], name
        found = searcher.find(f"the log of {name}", account.rest)
        for call, value in account.buffers:
            found += searcher.find(f"{name}, {call}", value)
        assert not found


def test_keys_are_read_only_where_the_token_cannot_wrap_three_for_each_set_written(
    accounts: dict[str, Account], scene: Scene, token: str
) -> None:
    writings = [
        platform
        for kind in KINDS
        for flow, written in kind.flows.items()
        for platform, command in written
        if (flow, command) in kind.transient and token == "softhsm2"
    ]
    card_keys = set(scene.list_static_keys().values())
    for platform in (ISSUER, PROVIDER):
        read = accounts[f"{platform}'s server"].transient
        assert len(read) == KEYS_IN_A_SET * writings.count(platform)
        assert {crossing.value for crossing in read} <= card_keys  # and nothing else, a session key for one
        assert len({crossing.value for crossing in read}) == len(read)  # each once
        assert accounts[f"{platform}'s commands"].transient == []


def test_what_is_derived_to_be_read_is_no_key(accounts: dict[str, Account], searcher: Searcher) -> None:
    """Blocks of masters, three at most, and chaining values of cards' AES keys; of cards' triple DES keys nothing."""
    read = [(name, crossing) for name, account in accounts.items() for crossing in account.readable]
    assert [finding for name, crossing in read for finding in searcher.find(name, crossing.value)] == []
    chains = [(name, crossing) for name, crossing in read if crossing.of.is_chain]
    assert {name for name, _ in chains} == {"issuer's server", "provider's server"}
    others = [(name, crossing.of.parent) for name, crossing in read if not crossing.of.is_chain]
    on_trial = [(name, parent) for name, parent in others if parent is None or not parent.object_id]
    # An import tries the value as a session object before it becomes a master: for its check value, twice.
    assert {name for name, _ in on_trial} == {"issuer's commands"}
    assert all(parent is not None and parent.maker == "C_CreateObject" for _, parent in on_trial)
    blocks = count_blocks_read(accounts.values())
    assert len(blocks) == 3 + VENDORS + 1  # the issuer's masters and the vendors', and the provider's
    assert max(blocks.values()) <= READ_OF_A_MASTER


def test_a_value_is_created_in_the_token_by_an_import_alone(accounts: dict[str, Account], scene: Scene) -> None:
    created = {name: account.imported for name, account in accounts.items() if account.imported}
    assert list(created) == ["issuer's commands"]
    values = [crossing.value for crossing in created["issuer's commands"]]
    assert set(values) == {master.value for master in scene.masters}  # components are joined before
    assert [crossing.of.lasts for crossing in created["issuer's commands"]] == [False, False, True] * VENDORS


def test_no_object_outlives_its_visit(accounts: dict[str, Account]) -> None:
    assert {name: account.left for name, account in accounts.items() if account.left} == {}


def test_no_key_is_in_any_file_or_message(scene: Scene, searcher: Searcher) -> None:
    places = list(scene.list_files())
    names = [name for name, _ in places]
    recorded = b"".join(content for name, content in places if name.startswith("tls/"))
    for request in (b"POST /gp/seram/remoteManagement", b"POST /api/v1/applications", b"POST /peer/v1/transfers"):
        assert request in recorded
    assert {"server.log", "server-provider.log", "offer.json", "answer.json"} <= set(names)
    for database in (f"{ISSUER}'s database/", f"{PROVIDER}'s database/"):
        for when in ("", " during flow 3 of SCP02", " during flow 3 of SCP03 S16, AES-256"):
            assert any(name.startswith(database) and name.endswith(when) for name in names)
    assert any("visit.journal during" in name for name in names)
    assert [finding for name, content in places for finding in searcher.find(name, content)] == []


def test_no_key_is_in_the_memory_of_a_terminal_that_holds_an_order(scene: Scene, searcher: Searcher) -> None:
    assert list(scene.terminals) == [f"{flow} of {kind}" for kind, flow in HELD]
    for moment, memory in scene.terminals.items():
        assert find_in_memory(scene, searcher, f"the terminal's memory, {moment}", memory) == []


def test_no_key_is_left_in_the_memory_of_a_server(
    scene: Scene, searcher: Searcher, record_property: Callable[[str, object], None]
) -> None:
    # What this shows and what it cannot: docs/assurance.md, Limits.
    assert len(scene.workers) == 1 + 2
    for moment, memory in scene.workers.items():
        found = find_in_memory(scene, searcher, f"the server's memory ({moment})", memory)
        assert [finding for finding in found if finding.form != RAW] == []
        # Memory that was freed may keep a half until it is used again; a whole key would be one that somebody holds.
        assert find_whole_keys(found, searcher) == []
        record_property(f"parts of keys in freed memory of the server ({moment})", len(found))


def find_in_memory(scene: Scene, searcher: Searcher, place: str, memory: bytes) -> list[Finding]:
    """The keys that are in there; a card's identity must be, or the search would prove nothing."""
    control = {f"the identity of {card.kind.name}": card.identity[-8:] for card in scene.cards}
    found = Searcher({**searcher.keys, **control}).find(place, memory)
    assert any(finding.key in control for finding in found)
    return [finding for finding in found if finding.key not in control]
