"""No key crosses a boundary that it must not cross: all four flows and the take-over, watched from every side.

What is searched for: every key that the card ever held, the manufacturer's master and its components; in every form
that `tests/key_boundary/search.py` knows. Where: every value that crossed between the programs and their tokens, all
files of both platforms while visits run and afterwards, all that TLS carried, all that commands printed, the memory of
`kms-terminal` while it holds an Order, and that of the servers. What crosses at the token is known to the last value.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.key_boundary.crossings import Account, account_for, count_blocks_read
from tests.key_boundary.platforms import SPY
from tests.key_boundary.scene import Scene, play
from tests.key_boundary.search import RAW, Finding, Searcher, find_whole_keys

KEYS_IN_A_SET = 3
ISSUER, PROVIDER = "issuer", "provider"
# What each flow writes into the card: the platform whose token the keys come from, and the command that carries them.
WRITTEN = {
    "take-over": [(ISSUER, "PUT KEY")],
    "flow 2": [(ISSUER, "STORE DATA"), (ISSUER, "PUT KEY")],
    "flow 3": [(ISSUER, "STORE DATA"), (PROVIDER, "PUT KEY")],
    "flow 4": [(ISSUER, "PUT KEY")],
    "flow 5": [(PROVIDER, "PUT KEY")],
}
READ_OF_A_MASTER = 3  # blocks at most; kms/hsm/readable.py names them

# The scene drives a card in a reader, and takes as long as setting up two platforms does.
pytestmark = [pytest.mark.pcsc, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    if not SPY.exists():
        pytest.skip("pkcs11-spy is not installed: apt-get install opensc-pkcs11")
    folder = Path(tempfile.mkdtemp(prefix="kms-"))
    try:
        yield play(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def searcher(scene: Scene) -> Searcher:
    keys = scene.list_keys()
    # The factory set, three sets of the ISD and the issuer's SSD, two of the provider's: 21 keys; and the master's 3.
    assert len(keys) >= 7 * KEYS_IN_A_SET + 3
    return Searcher(keys)


@pytest.fixture(scope="module")
def accounts(scene: Scene) -> dict[str, Account]:
    """What crossed, by process: the commands and the server of each platform."""
    logs = {
        f"{site.name}'s {what}": log
        for site in (scene.issuer, scene.provider)
        for what, log in (("commands", site.commands_log), ("server", site.server_log))
    }
    return {name: account_for(log.read_text()) for name, log in logs.items()}


def test_every_flow_wrote_the_keys_that_it_should(scene: Scene) -> None:
    assert scene.sent == {flow: [command for _, command in written] for flow, written in WRITTEN.items()}


def test_nothing_crosses_at_the_token_but_what_is_documented(accounts: dict[str, Account], searcher: Searcher) -> None:
    for name, account in accounts.items():
        assert account.calls > 200, name
        assert account.unexplained == [], name
        found = searcher.find(f"the log of {name}", account.rest)
        for call, value in account.buffers:
            found += searcher.find(f"{name}, {call}", value)
        assert not found


def test_keys_are_read_transiently_three_for_each_set_written(accounts: dict[str, Account], searcher: Searcher) -> None:
    sets = [platform for written in WRITTEN.values() for platform, _ in written]
    card_keys = {key for name, key in searcher.keys.items() if name.startswith("key ")}
    for platform in (ISSUER, PROVIDER):
        read = accounts[f"{platform}'s server"].transient
        assert len(read) == KEYS_IN_A_SET * sets.count(platform)
        assert {crossing.value for crossing in read} <= card_keys  # and nothing else, a session key for one
        assert len({crossing.value for crossing in read}) == len(read)  # each once
        assert accounts[f"{platform}'s commands"].transient == []


def test_of_masters_three_blocks_at_most_are_readable_and_of_card_keys_none(accounts: dict[str, Account]) -> None:
    parents = [(name, read.of.parent) for name, account in accounts.items() for read in account.readable]
    on_trial = [(name, parent) for name, parent in parents if parent is None or not parent.object_id]
    # An import tries the value as a session object before it becomes a master: for its check value, twice.
    assert [name for name, _ in on_trial] == ["issuer's commands"] * 2
    assert all(parent is not None and parent.maker == "C_CreateObject" for _, parent in on_trial)
    blocks = count_blocks_read(accounts.values())
    assert len(blocks) == 3 + 1 + 1  # the issuer's masters and the vendor's, and the provider's
    assert max(blocks.values()) <= READ_OF_A_MASTER


def test_a_value_is_created_in_the_token_by_an_import_alone(accounts: dict[str, Account], scene: Scene) -> None:
    created = {name: account.imported for name, account in accounts.items() if account.imported}
    assert list(created) == ["issuer's commands"]
    values = {crossing.value for crossing in created["issuer's commands"]}
    assert values == {scene.master.value}  # its components are joined before
    assert [crossing.of.lasts for crossing in created["issuer's commands"]] == [False, False, True]


def test_no_object_outlives_its_visit(accounts: dict[str, Account]) -> None:
    assert {name: account.left for name, account in accounts.items() if account.left} == {}


def test_no_key_is_in_any_file_or_message(scene: Scene, searcher: Searcher) -> None:
    places = dict(scene.list_files())
    recorded = b"".join(content for name, content in places.items() if name.startswith("tls/"))
    for request in (b"POST /gp/seram/remoteManagement", b"POST /api/v1/applications", b"POST /peer/v1/transfers"):
        assert request in recorded
    kinds = ("server.log", "server-provider.log", "offer.json", "answer.json")
    assert set(kinds) <= places.keys()
    for platform, database in scene.databases.items():
        assert any(name.startswith(f"{platform}'s database/") for name in places)
        assert any(name.startswith("copies/") and f"/{platform}/" in name for name in places), database
    assert any(name.startswith("copies/") and name.endswith("visit.journal") for name in places)
    assert [finding for name, content in places.items() for finding in searcher.find(name, content)] == []


def test_no_key_is_in_the_memory_of_a_terminal_that_holds_an_order(scene: Scene, searcher: Searcher) -> None:
    assert list(scene.terminals) == ["flow 4", "flow 5"]
    for flow, memory in scene.terminals.items():
        assert find_in_memory(scene, searcher, f"the terminal's memory, {flow}", memory) == []


def test_no_key_is_left_in_the_memory_of_a_server(
    scene: Scene, searcher: Searcher, record_property: Callable[[str, object], None]
) -> None:
    # What this shows and what it cannot: docs/assurance.md, Limits.
    assert list(scene.workers) == [ISSUER, PROVIDER]
    for platform, memory in scene.workers.items():
        found = find_in_memory(scene, searcher, f"the memory of the {platform}'s server", memory)
        assert [finding for finding in found if finding.form != RAW] == []
        # Memory that was freed may keep a half until it is used again; a whole key would be one that somebody holds.
        assert find_whole_keys(found, searcher) == []
        record_property(f"halves of keys in freed memory of the {platform}'s server", len(found))


def find_in_memory(scene: Scene, searcher: Searcher, place: str, memory: bytes) -> list[Finding]:
    """The keys that are in there; the card's identity must be, or the search would prove nothing."""
    control = "the card's identity"
    found = Searcher({**searcher.keys, control: scene.card.identity[-8:]}).find(place, memory)
    assert any(finding.key == control for finding in found)
    return [finding for finding in found if finding.key != control]
