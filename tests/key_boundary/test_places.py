"""The checker finds planted keys in each form at each place that it looks into, as it looks into it."""

import json
import os
import secrets
import socket
import ssl
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from demo.installation import PROJECT
from kms.db.engine import build_engine
from kms.pki.authority import init_pki
from terminal.journal import Journal
from terminal.virtual_card.personality import build_factory_state
from tests.contract.tokens import MAKES, TokenFactory, TokenMake
from tests.functional.site_database import make_database
from tests.key_boundary.crossings import account_for
from tests.key_boundary.memory import dump_memory
from tests.key_boundary.platforms import SPY
from tests.key_boundary.records import Copies
from tests.key_boundary.search import Searcher
from tests.key_boundary.sessions import Opening, RecordedCard, list_session_keys
from tests.key_boundary.test_search import FORMS
from tests.key_boundary.tls_record import recording

# Without backslashes, which Python and JSON double: a key that has one is found by its other half.
KEYS = {form: secrets.token_bytes(16).replace(b"\\", b"/") for form in FORMS}
PLANTED = {form: FORMS[form](key) for form, key in KEYS.items()}
SEARCHER = Searcher(KEYS)


def find_all(place: str, *contents: bytes) -> set[str]:
    """The forms whose key was found."""
    return {finding.key for content in contents for finding in SEARCHER.find(place, content)}


def test_in_the_memory_of_a_process() -> None:
    # The program makes the planted texts itself: on its input they would be found without looking at its data.
    program = (
        "import sys; from tests.key_boundary.memory import allow_dumps; allow_dumps();"
        "held = [bytes(b ^ 0x55 for b in bytes.fromhex(line)) for line in sys.argv[1:]]; print(1, flush=True); input()"
    )
    hidden = [bytes(byte ^ 0x55 for byte in planted).hex() for planted in PLANTED.values()]
    with subprocess.Popen(
        [sys.executable, "-c", program, *hidden], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        memory = dump_memory(holder.pid)
        holder.kill()
    assert find_all("memory", memory) == set(FORMS)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_in_a_database(kind: str, tmp_path: Path) -> None:
    (tmp_path / "issuer").mkdir()
    database = make_database(tmp_path, "issuer", kind)
    copies = Copies(tmp_path, {"issuer": database})
    engine = build_engine(database.url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE planted (form VARCHAR(40), value BYTEA)"))
    copies.take("before")
    assert find_all("copies", *(content for _, content in copies.taken)) == set()
    with engine.begin() as connection:
        for form, value in PLANTED.items():
            connection.execute(sa.text("INSERT INTO planted VALUES (:form, :value)"), {"form": form, "value": value})
    copies.take("during")
    engine.dispose()
    during = [content for name, content in copies.taken if name.endswith("during during")]
    assert find_all("copies", *during) == set(FORMS)


def test_in_a_journal(tmp_path: Path) -> None:
    copies = Copies(tmp_path, {})
    with Journal(tmp_path / "terminal") as journal:
        journal.open_visit("0" * 32, bytes(8))
        for planted in PLANTED.values():
            journal.add_order({}, ((bytes(5) + planted,),))
            journal.add_order({"note": planted.decode("latin-1")}, ())
        copies.take("a visit")
    # The raw form shows in the commands, in hex; the others in cookies as they are.
    assert find_all("journal", *(content for _, content in copies.taken)) == set(FORMS)


def test_in_what_tls_carries(tmp_path: Path) -> None:
    init_pki(tmp_path / "pki", ("localhost",), datetime.now(UTC))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "pki" / "server.pem", tmp_path / "pki" / "server.key")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(tmp_path / "pki" / "ca.pem")
    ends = socket.socketpair()
    folder = tmp_path / "tls"
    with recording(folder):
        answering = threading.Thread(target=_answer, args=(server, ends[0]))
        answering.start()
        with client.wrap_socket(ends[1], server_hostname="localhost") as connection:
            for planted in PLANTED.values():
                for start in range(0, len(planted), 7):  # in pieces
                    connection.sendall(planted[start : start + 7])
                connection.sendall(b"\n\n")
            connection.unwrap()
        answering.join()
    recorded = {path.name.rsplit("-", 1)[1]: path.read_bytes() for path in folder.iterdir()}
    assert {way: find_all("tls", content) for way, content in recorded.items()} == {
        "sent": set(FORMS),
        "received": set(FORMS),
    }


def _answer(context: ssl.SSLContext, end: socket.socket) -> None:
    with context.wrap_socket(end, server_side=True) as connection:
        while connection.recv(4096):
            pass


@pytest.mark.parametrize("make", MAKES.values(), ids=lambda make: make.name)
@pytest.mark.skipif(not SPY.exists(), reason="pkcs11-spy is not installed: apt-get install opensc-pkcs11")
def test_in_the_arguments_of_calls_to_a_token(make: TokenMake, tmp_path: Path) -> None:
    token = TokenFactory(make, tmp_path)()
    log = tmp_path / "spy.log"
    settings = asdict(replace(token.settings, module=str(SPY))) | {"environment": dict(token.settings.environment)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.key_boundary.plant"],
        input=json.dumps({"settings": settings, "values": {form: value.hex() for form, value in PLANTED.items()}}),
        env=os.environ | {"PKCS11SPY": token.settings.module, "PKCS11SPY_OUTPUT": str(log)},
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    account = account_for(log.read_text())
    assert account.unexplained == []
    found: dict[str, set[str]] = {}
    for place, value in account.buffers:
        found.setdefault(place.split(", ")[1], set()).update(find_all(place, value))
    whole = {place for place, forms in found.items() if forms == set(FORMS)}
    assert {"C_FindObjectsInit: CKA_ID", "C_Encrypt: pData", "C_Sign: pData"} <= whole
    assert any(place.startswith("C_Decrypt") for place in whole)


def test_session_keys_are_computed_for_a_channel_that_a_set_explains_and_for_no_other() -> None:
    keys = (b"\x01" * 16, b"\x02" * 16, b"\x03" * 16)
    card = RecordedCard(build_factory_state(keys, scp02_i=0x55))
    card.transmit(bytes.fromhex("8050000008") + bytes(8) + b"\x00")
    assert len(list(list_session_keys(card))) == 4
    (opening,) = card.openings
    card.openings.append(Opening(opening.command, opening.answer[:-1] + bytes([opening.answer[-1] ^ 1])))
    with pytest.raises(ValueError, match="0 sets"):
        list(list_session_keys(card))
