"""After flows by the front door: no key, PIN or component anywhere but in token and card, and no wrapped command left.

What is searched for: every key that the virtual card ever held, the vendor's master and its components, the PINs; in
raw bytes, hex of either case, and base64.
"""

import base64
from collections.abc import Iterator

import pytest

from terminal.virtual_card import VpcdConnection
from tests.functional.reader_slot import in_reader
from tests.functional.site import READER_PORT, TRANSIT, TRANSIT_SSD, Delivered, Site

SECRET_FILES = ("hsm.pin", "hsm.so-pin")  # where the PINs belong


# The fixture below drives a card in a reader.
pytestmark = pytest.mark.pcsc


def build_forms(secret: bytes) -> Iterator[bytes]:
    """The ways in which a leaked secret would show; base64 in the three alignments of a longer text."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for lead in range(3):
        text = base64.b64encode(bytes(lead) + secret)
        yield text[(0, 2, 3)[lead] : -4]  # its ends depend on what stands beside


@pytest.fixture(scope="module")
def used(whole_site: Site) -> Delivered:
    """A card after all flows, some of them by the terminal's command at a reader, one broken off."""
    whole_site.server.start()
    delivered = whole_site.keyed(kvn=0xFF)
    whole_site.force(delivered)
    whole_site.visit(delivered, Mute(delivered))
    whole_site.visit(delivered)
    with in_reader(VpcdConnection(delivered.card, READER_PORT)):
        for command in (("identify",), ("pending", "--all"), ("apply", "--application", TRANSIT), ("once", "--json")):
            whole_site.force(delivered)
            assert whole_site.terminal(*command).returncode == 0
    for shown in (
        ("cards", "show", delivered.name),
        ("ssds", "show", delivered.name, TRANSIT_SSD),
        ("keys", "list"),
        ("terminals", "list"),
        ("updates", "list"),
        ("visits", "list"),
        ("audit", "tail"),
    ):
        assert whole_site.run(*shown).exit_code == 0
    whole_site.said.append(whole_site.installation.kms("hsm", "status"))
    assert len(delivered.all_keys()) >= 1 + 3 * 5  # the vendor's, and a set for each generation of ISD and SSD
    return delivered


def find_secrets(site: Site, delivered: Delivered) -> dict[str, bytes]:
    secrets = {f"card key {number}": key for number, key in enumerate(sorted(delivered.all_keys()))}
    secrets["vendor's master"] = site.master.value
    for number, component in enumerate(site.master.components, start=1):
        secrets[f"component {number}"] = component
    for name in SECRET_FILES:
        secrets[name] = (site.folder / "issuer" / name).read_bytes().strip()
    return secrets


def list_places(site: Site) -> Iterator[tuple[str, bytes]]:
    """Every file of the site that holds what happened, and all that commands printed."""
    for path in sorted(site.folder.rglob("*")):
        if path.is_file() and path.name not in SECRET_FILES:
            yield str(path.relative_to(site.folder)), path.read_bytes()
    for name, content in site.database.read_files():
        yield f"database {name}", content
    yield "what commands printed", "\n".join(site.said).encode()


def test_no_secret_is_anywhere(site: Site, used: Delivered) -> None:
    places = dict(list_places(site))
    assert {"server.log", "terminal-1/journal/visit.journal"} <= places.keys()
    assert any(name.startswith("database ") and used.identity in content for name, content in places.items())
    assert len(places["server.log"]) > 1000
    found = [
        f"{name} in {place}"
        for name, secret in find_secrets(site, used).items()
        for form in build_forms(secret)
        for place, content in places.items()
        if form in content
    ]
    assert not found


def test_the_search_finds_what_it_looks_for() -> None:
    key = bytes(range(0xA0, 0xB0))
    for leaked in (key, key.hex().encode(), key.hex().upper().encode(), base64.b64encode(b"key: " + key + b"!")):
        assert any(form in leaked for form in build_forms(key)), leaked


@pytest.mark.usefixtures("used")
def test_no_command_is_kept_when_a_visit_is_over(site: Site) -> None:
    visits = site.database.execute("SELECT state, \"order\", program FROM visits WHERE state <> 'OPEN'")
    assert len(visits) >= 5
    assert [visit for visit in visits if visit[1:] != (None, None)] == []
    assert (site.load_terminal("terminal-1").journal_directory / "visit.journal").read_bytes() == b""


def test_a_visit_is_shown_without_its_commands(site: Site, used: Delivered) -> None:
    sent: list[bytes] = []

    class Listening:
        def transmit(self, command: bytes) -> bytes:
            sent.append(command)
            answer = used.card.transmit(command)
            sent.append(answer[:-2])
            return answer

        def reset(self) -> None:
            used.card.reset()

    site.force(used)
    site.visit(used, Listening())
    visit = site.last_visit(used)
    for arguments in (("visits", "show", visit["id"]), ("visits", "show", visit["id"], "--json"), ("visits", "list")):
        shown = site.run(*arguments).stdout.upper()
        assert "ORDER NUMBER" in shown.replace("_", " ") or arguments[1] == "list"
        assert [data.hex() for data in sent if len(data) > 8 and data.hex().upper() in shown] == []
    log = (site.folder / "server.log").read_text().upper()
    assert [data.hex() for data in sent if len(data) > 8 and data.hex().upper() in log] == []


class Mute:
    """A card that is gone before PUT KEY: the visit is broken off with a key set in doubt."""

    def __init__(self, delivered: Delivered) -> None:
        self._card = delivered.card

    def transmit(self, command: bytes) -> bytes:
        return b"" if command[1] == 0xD8 else self._card.transmit(command)

    def reset(self) -> None:
        self._card.reset()
