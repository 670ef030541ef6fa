"""The leased line, both ends real: the provider's client, TLS, gunicorn, the issuer's API; transfers simulated."""

import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from kms.card.keys import KeyType
from kms.config import PeerConfig, PeerRole, ServerConfig
from kms.domain.orders import AgentStatus, Report
from kms.domain.transfers import TransferReason, TransferRequest, TransferState
from kms.errors import Code, KmsError
from kms.peer import PeerClient
from kms.peer.client import open_http
from kms.pki import init_pki, issue_peer, issue_terminal
from kms.serve import build_tls_context
from tests.fakes.api_transfers import CARD, COMMANDS, TEXT

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Bank:
    """The issuer's server. `line`: how the provider `bikes` is configured to call it."""

    folder: Path
    port: int
    line: PeerConfig

    def showing(self, name: str) -> PeerConfig:
        """The same line with another client certificate of the folder's."""
        return replace(
            self.line,
            client_certificate=self.folder / f"{name}.pem",
            client_key=self.folder / f"{name}.key",
        )


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    folder = tmp_path_factory.mktemp("bank")
    now = datetime.now(UTC)
    ca, server = init_pki(folder, ("localhost", "127.0.0.1"), now)
    terminal = issue_terminal(folder, "terminal-1", now)
    bikes = issue_peer(folder, "bikes", ("localhost",), now)
    issue_peer(folder, "boats", ("localhost",), now)  # of the right authority, but no peer
    init_pki(folder / "foreign", ("localhost", "127.0.0.1"), now)
    issue_peer(folder / "foreign", "bikes", ("localhost",), now)
    fingerprints = [terminal.fingerprint.hex(), bikes.fingerprint.hex()]
    command = [sys.executable, "-m", "tests.fakes.api_server", str(folder), *fingerprints]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready.startswith("ready https://127.0.0.1:"), (folder / "log").read_text()
        port = int(ready.rsplit(":", 1)[1])
        line = PeerConfig(
            name="bank",
            role=PeerRole.ISSUER,
            certificate_fingerprint=server.fingerprint,
            url=f"https://localhost:{port}",
            ca=ca.certificate_file,
            client_certificate=bikes.certificate_file,
            client_key=bikes.key_file,
        )
        yield Bank(folder, port, line)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


@pytest.fixture
def client(bank: Bank) -> Iterator[PeerClient]:
    made = PeerClient(bank.line)
    yield made
    made.close()


def _wanted() -> TransferRequest:
    return TransferRequest(
        transfer_id=str(uuid4()),
        reason=TransferReason.CREATE,
        card_identity=CARD,
        aid=bytes.fromhex("A0000009520001"),
        privileges=b"\x80",
        key_type=KeyType.DES2,
    )


def _report(number: int | None) -> Report:
    return Report(AgentStatus.PROCESSED, number, (b"\x90\x00",) if number else ())


def _code(line: PeerConfig, call: Callable[[PeerClient], object] | None = None) -> KmsError:
    client = PeerClient(line, sleep=lambda _seconds: None)
    with pytest.raises(KmsError) as caught:
        call(client) if call else client.request(_wanted())
    client.close()
    return caught.value


def test_a_transfer_from_request_to_control_over_the_line(client: PeerClient) -> None:
    wanted = _wanted()
    answer = client.request(wanted)
    assert (answer.state, answer.kdd, answer.scp02_i, answer.scp03_i, answer.profile) == (
        TransferState.REQUESTED,
        bytes(range(10)),
        0x55,
        None,
        "default",
    )
    order = client.report(wanted.transfer_id, _report(None))
    assert (order.number, order.commands, order.ended) == (1, COMMANDS, False)
    for number in (1, 2):
        order = client.report(wanted.transfer_id, _report(number))
    assert (order.ended, order.state, order.text) == (True, TransferState.PROVED, TEXT)
    envelope = client.hand_over(wanted.transfer_id)
    assert (envelope.payload, envelope.signature) == (b'{"type":"kms-hand-over"}', bytes(range(64)))
    assert client.accept_control(wanted.transfer_id) is TransferState.CLOSED


def test_every_message_may_be_replayed(client: PeerClient) -> None:
    wanted = _wanted()
    assert client.request(wanted) == client.request(wanted)
    client.report(wanted.transfer_id, _report(None))
    assert client.report(wanted.transfer_id, _report(1)) == client.report(wanted.transfer_id, _report(1))
    client.report(wanted.transfer_id, _report(2))
    assert client.hand_over(wanted.transfer_id) == client.hand_over(wanted.transfer_id)
    assert client.accept_control(wanted.transfer_id) == client.accept_control(wanted.transfer_id)


def test_a_refusal_carries_the_issuer_s_code(client: PeerClient) -> None:
    wanted = _wanted()
    with pytest.raises(KmsError, match="may not ask") as caught:
        client.request(replace(wanted, aid=bytes.fromhex("A0000009510001")))
    assert caught.value.code is Code.PEER_REFUSED
    assert [fault.where for fault in caught.value.faults] == ["peer.not-allowed"]
    client.request(wanted)
    with pytest.raises(KmsError) as caught:
        client.request(replace(wanted, key_type=KeyType.AES128))
    assert [fault.where for fault in caught.value.faults] == ["transfer.conflict"]
    with pytest.raises(KmsError) as caught:
        client.hand_over(wanted.transfer_id)
    assert [fault.where for fault in caught.value.faults] == ["transfer.state"]


def test_a_server_whose_certificate_is_not_the_pinned_one_gets_no_request(bank: Bank) -> None:
    before = (bank.folder / "log").read_text().count('"request"')
    error = _code(replace(bank.line, certificate_fingerprint=bytes(32)))
    assert error.code is Code.PEER_UNTRUSTED
    assert "not the pinned one" in error.detail
    assert (bank.folder / "log").read_text().count('"request"') == before


def test_a_pinned_certificate_of_another_authority_is_not_trusted(bank: Bank) -> None:
    error = _code(replace(bank.line, ca=bank.folder / "foreign" / "ca.pem"))
    assert error.code is Code.PEER_UNTRUSTED
    assert "does not verify" in error.detail


def test_a_certificate_for_another_host_is_not_trusted(bank: Bank) -> None:
    # 127.0.0.2 is this machine too, but no name of the certificate's.
    with socket.create_server(("127.0.0.2", 0)) as listener:
        server = ServerConfig(
            host="127.0.0.2",
            port=0,
            certificate=bank.folder / "server.pem",
            private_key=bank.folder / "server.key",
            client_ca=bank.folder / "ca.pem",
        )
        context = build_tls_context(server)

        def serve() -> None:
            with suppress(OSError):
                connection, _address = listener.accept()
                context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        error = _code(replace(bank.line, url=f"https://127.0.0.2:{listener.getsockname()[1]}"))
        thread.join(timeout=10)
    assert error.code is Code.PEER_UNTRUSTED


@pytest.mark.parametrize("name", ["terminal-1", "boats"])
def test_who_is_no_peer_is_refused(bank: Bank, name: str) -> None:
    error = _code(bank.showing(name))
    assert error.code is Code.PEER_REFUSED
    assert [fault.where for fault in error.faults] == ["peer.unknown"]


def test_our_certificate_of_another_authority_ends_in_tls(bank: Bank) -> None:
    error = _code(bank.showing("foreign/bikes"))
    assert error.code is Code.PEER_UNTRUSTED
    assert "our certificate" in error.detail


def test_a_peer_is_no_terminal(bank: Bank) -> None:
    with open_http(bank.line) as http_client:
        answer = http_client.get("/api/v1/pending")
    assert (answer.status_code, answer.json()["code"]) == (403, "terminal.unknown")


def test_a_peer_finds_no_transfer_that_is_not_there(bank: Bank) -> None:
    error = _code(bank.line, lambda client: client.accept_control(str(uuid4())))
    assert [fault.where for fault in error.faults] == ["transfer.unknown"]


def test_a_report_that_is_too_large_is_refused(bank: Bank) -> None:
    big = Report(AgentStatus.PROCESSED, 1, (b"\x00" * 258,) * 250)
    error = _code(bank.line, lambda client: client.report(str(uuid4()), big))
    # The server answers without reading on; its answer may be lost in the cut connection.
    assert error.code in {Code.PEER_REFUSED, Code.PEER_UNREACHABLE}
    if error.code is Code.PEER_REFUSED:
        assert [fault.where for fault in error.faults] == ["http.body-too-large"]


def test_tls_1_2_is_not_spoken(bank: Bank) -> None:
    context = ssl.create_default_context(cafile=bank.folder / "ca.pem")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(bank.folder / "bikes.pem", bank.folder / "bikes.key")
    connection = http.client.HTTPSConnection("localhost", bank.port, context=context, timeout=10)
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        connection.request("GET", "/healthz")


def test_nobody_at_the_other_end_is_unreachable(bank: Bank) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert _code(replace(bank.line, url=f"https://localhost:{port}")).code is Code.PEER_UNREACHABLE


def test_threads_share_one_line(client: PeerClient) -> None:
    wanted = [_wanted() for _ in range(8)]
    states: list[TransferState] = []
    threads = [threading.Thread(target=lambda one=one: states.append(client.request(one).state)) for one in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert states == [TransferState.REQUESTED] * len(wanted)


def test_the_log_names_the_peer_and_never_what_it_relays(bank: Bank, client: PeerClient) -> None:
    wanted = _wanted()
    client.request(wanted)
    client.report(wanted.transfer_id, _report(None))
    text = (bank.folder / "log").read_text()
    entries = [json.loads(entry) for entry in text.splitlines()]
    assert any(entry.get("peer") == "bikes" and entry["status"] == 201 for entry in entries)
    assert COMMANDS[1].hex().upper() not in text
    assert CARD.hex().upper() not in text


def test_the_environment_s_proxy_is_not_used(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    client = PeerClient(bank.line)
    assert client.request(_wanted()).state is TransferState.REQUESTED
    assert isinstance(open_http(bank.line), httpx.Client)
    client.close()
