"""The real server over simulated services: `python -m tests.fakes.api_server FOLDER FINGERPRINT [PEER_FINGERPRINT]`.

Prints its address when it is ready. The folder holds the certificates; the terminal of the fingerprint is enrolled, the
peer `bikes` has the other one. With a peer there is one worker: the simulated transfers live in its memory.
"""

import os
import sys
from pathlib import Path

from flask import Flask

from kms.api import create_api
from kms.api.services import PeerAccess
from kms.config import ServerConfig
from kms.domain.visits import TerminalState
from kms.serve import serve
from tests.fakes.api_platform import FakePlatform
from tests.fakes.api_transfers import FakeTransfers


def main() -> None:
    folder = Path(sys.argv[1])
    peers = {bytes.fromhex(fingerprint): "bikes" for fingerprint in sys.argv[3:]}
    server = ServerConfig(
        host="127.0.0.1",
        port=0,
        certificate=folder / "server.pem",
        private_key=folder / "server.key",
        client_ca=folder / "ca.pem",
        workers=1 if peers else 2,
        threads=2,
    )

    def create_app() -> Flask:
        (folder / f"worker-{os.getpid()}").touch()
        platform = FakePlatform()
        platform.terminals.known[bytes.fromhex(sys.argv[2])] = TerminalState.ENROLLED
        return create_api(platform, peer_access=PeerAccess(peers, FakeTransfers()) if peers else None)

    (folder / f"master-{os.getpid()}").touch()
    serve(server, create_app, lambda address: print(f"ready {address}", flush=True))


if __name__ == "__main__":
    main()
