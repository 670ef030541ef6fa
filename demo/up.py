"""`make up`: the lab's two platforms, the issuer's and a provider's, prepared in var/ and served until Ctrl-C.

Rules: it uses the configurations in config/ as they are. What is there already stays, so starting again takes seconds.
"""

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from demo.installation import PROJECT, CommandError, Installation, VendorMaster, exchange_keys

# The virtual card's factory key, printed in every document of the trade: it needs no protection and gives none.
EXAMPLE_VENDOR = VendorMaster((bytes(range(0x40, 0x50)),), "example-vendor")
WATCH_SECONDS = 0.5
WHAT_TO_TRY = """
Both platforms are up: the issuer's at https://localhost:8443, the provider's at https://localhost:8445.
In a second shell put a card into the virtual reader:

  .venv/bin/kms-terminal virtual-card --state var/card.json

and in a third be card user, terminal and operator in turn. At the issuer's:

  .venv/bin/kms-terminal apply --application A000000951000101   # flow 2: a security domain, its first keys
  .venv/bin/kms updates force --card 499999999900010203040506070809 --aid A0000009510001
  .venv/bin/kms-terminal once                                   # flow 4: the card fetches new keys

At the provider's, with the same card:

  export KMS_CONFIG=config/provider.toml KMS_TERMINAL_CONFIG=config/terminal-provider.toml
  .venv/bin/kms-terminal apply --application A000000952000101   # flow 3: made by the issuer, handed over
  .venv/bin/kms updates force --card 499999999900010203040506070809 --aid A0000009520001
  .venv/bin/kms-terminal once                                   # flow 5: new keys, without the issuer
  unset KMS_CONFIG KMS_TERMINAL_CONFIG

and look at what each platform knows (the provider's: with --config config/provider.toml after kms):

  .venv/bin/kms cards show 499999999900010203040506070809
  .venv/bin/kms visits list
  .venv/bin/kms audit tail
  .venv/bin/kms transfers list                                  # what was handed over
  .venv/bin/kms hsm status

People work at the consoles, https://localhost:8444 and https://localhost:8446, once they are added (docs/operations.md,
People); until then the commands above act as the lab's development login.

The servers' logs are var/server.log and var/server-provider.log. Ctrl-C here stops both platforms; what they know
stays in var/ (make clean removes it).
"""


@dataclass(frozen=True)
class LabPlatform(Installation):
    """A platform of config/, with everything it makes in var/."""

    @property
    def platform_config(self) -> Path:
        """The platform's configuration file."""
        return PROJECT / "config" / f"{self.name}.toml"

    @property
    def terminal_config(self) -> Path:
        """The terminal's configuration file."""
        return PROJECT / "config" / ("terminal.toml" if self.name == "issuer" else f"terminal-{self.name}.toml")

    def write_configuration(self) -> None:
        """The configuration is there."""


def main() -> int:
    """Prepare, serve and wait; the exit code."""
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, _interrupt)
    issuer = LabPlatform(PROJECT / "var", 8443, "")
    provider = LabPlatform(PROJECT / "var", 8445, "", "provider")
    try:
        _prepare(issuer, provider)
        # The provider's platform looks at its line's certificates when it starts, and calls the issuer when needed.
        with (
            issuer.serving() as first,
            provider.serving() as second,
            issuer.serving("console") as third,
            provider.serving("console") as fourth,
        ):
            print(WHAT_TO_TRY, flush=True)
            _wait([(first, issuer.log), (second, provider.log), (third, issuer.log), (fourth, provider.log)])
    except CommandError as error:
        print(f"make up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nBoth platforms are stopped.")
        return 0
    return 1


def _prepare(issuer: LabPlatform, provider: LabPlatform) -> None:
    _say("preparing the issuer's platform")
    issuer.prepare(EXAMPLE_VENDOR)
    issuer.kms("cards", "import", str(PROJECT / "setup" / "example-cards.csv"))
    _say("preparing the provider's platform")
    provider.prepare()
    _say(f"the two HSMs hold the same KEK, check value {exchange_keys(issuer, provider)}")


def _wait(servers: "list[tuple[subprocess.Popen[str], Path]]") -> None:
    """Wait for Ctrl-C. Raises CommandError when one of the servers ends by itself."""
    while True:
        for server, log in servers:
            if server.poll() is not None:
                raise CommandError(f"a server ended by itself with {server.returncode}; its log is {log}")
        time.sleep(WATCH_SECONDS)


def _say(what: str) -> None:
    print(f"make up: {what}", flush=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
