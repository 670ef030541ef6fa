"""Two platforms for the functional tests: an issuer's and a provider's, each a site of its own on a leased line."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.installation import Installation, NssToken, exchange_keys, make_vendor_master
from terminal.virtual_card.personality import DEFAULT_IIN
from tests.functional.site import READER, Delivered, Site, find_free_port, serve_site, take_token
from tests.functional.site_database import make_database

BIKES, BIKES_SSD = "A000000952000101", "A0000009520001"
# Of another provider: in this provider's catalogue, but not among the AIDs that the issuer allows it.
BOATS, BOATS_SSD = "A000000953000101", "A0000009530001"
MORE = f"""
[[card_ranges]]
from = "{DEFAULT_IIN.hex()}{"00" * 8}"
to = "{DEFAULT_IIN.hex()}{"FF" * 8}"
issuer = "issuer"

[[applications]]
name = "Boat hire"
aid = "{BOATS}"
ssd_aid = "{BOATS_SSD}"
privileges = "80"
managed_by = "provider"
"""


@dataclass
class Platforms:
    """The two sites. Both lie in one folder, and share nothing in it but the issuer's certificates for the line."""

    issuer: Site
    provider: Site

    def start(self) -> None:
        """Have both servers run, whatever the test before did to them."""
        self.issuer.server.start()
        self.provider.server.start()

    def check_control(self, delivered: Delivered, kvn: int) -> None:
        """The provider alone holds the SSD's keys: by both records, by the card, and by what each HSM can do."""
        assert delivered.kvns(BIKES_SSD) == [kvn]
        (current,) = [item for item in self.provider.key_sets(delivered, BIKES_SSD) if item["state"] == "ACTIVE"]
        assert (current["kvn"], current["kcvs"]) == (kvn, delivered.kcvs(BIKES_SSD)[kvn])
        assert [item for item in self.issuer.key_sets(delivered, BIKES_SSD) if item["state"] == "ACTIVE"] == []
        opened = {
            site.installation.name: [
                item.kvn for item in site.try_channels(delivered) if item.aid == BIKES_SSD and item.opened
            ]
            for site in (self.issuer, self.provider)
        }
        assert opened == {"issuer": [], "provider": [kvn]}
        for site in (self.issuer, self.provider):
            assert find_transfer_states(site, delivered)[-1] == "CLOSED"
            assert site.kms("updates", "list", "--card", delivered.name, "--open") == []


def find_transfer_states(site: Site, delivered: Delivered) -> list[str]:
    """The states of the card's transfers, the oldest first."""
    rows = site.database.execute("SELECT requested_at, card_identity, state FROM transfers ORDER BY requested_at")
    return [str(state) for _at, identity, state in rows if identity == delivered.identity]


def read_story(site: Site, delivered: Delivered) -> list[tuple[str, str]]:
    """What the platform's audit log says of the card's transfers: actions and results, the oldest first."""
    rows = site.database.execute("SELECT id, card_identity FROM transfers")
    transfers = [str(number) for number, identity in rows if identity == delivered.identity]
    events = reversed(site.kms("audit", "tail", "--limit", "1000"))
    told = [event for event in events if any(number in event["subject"] + event["detail"] for number in transfers)]
    return [(event["action"], event["result"]) for event in told]


@contextmanager
def open_platforms(kind: str, *tokens: NssToken) -> Iterator[Platforms]:
    """Build the two, exchange their keys, and serve them, each on a database of the kind.

    `tokens`: two NSS tokens, else as for `open_site`.
    """
    folder = Path(tempfile.mkdtemp(prefix="kms-two-"))
    try:
        databases = [make_database(folder, name, kind) for name in ("issuer", "provider")]
        ports = find_free_port(), find_free_port()
        own, other = tokens or (take_token(), take_token())
        issuer = Installation(folder, ports[0], READER, database_url=databases[0].url, nss=own)
        provider = Installation(
            folder, ports[1], READER, "provider", ports[0], database_url=databases[1].url, nss=other
        )
        master = make_vendor_master()
        issuer.prepare(master)
        provider.prepare()
        exchange_keys(issuer, provider)
        config = provider.platform_config
        # One worker is enough here, and starts sooner; the issuer keeps its two.
        config.write_text(config.read_text().replace("workers = 2", "workers = 1") + MORE)
        with serve_site(issuer, master, databases[0]) as first, serve_site(provider, master, databases[1]) as second:
            yield Platforms(first, second)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
