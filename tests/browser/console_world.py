"""A lab site with its console running, and people at real browsers, each with a security key of their own.

Rules: browsers are Debian's Chromium; a security key is Chromium's virtual authenticator, one a browser context: one
context is one person. People come in as people do: invitation, password, security key.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Page

from demo.installation import BIN
from tests.functional.site import Site, find_free_port, open_site

PASSWORD = "seven brown horses on a hill"
START_SECONDS = 60
PEOPLE = {
    "adam": ("Adam Admin", "administrator"),
    "alice": ("Alice Officer", "security-officer"),
    "bob": ("Bob Officer", "security-officer"),
    "dora": ("Dora Officer", "security-officer"),  # never enrols
}
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@dataclass
class World:
    """The site, its console's address, and who has which browser."""

    site: Site
    origin: str
    invitations: dict[str, str]
    browser: Browser
    pages: dict[str, Page] = field(default_factory=dict)
    card: str = ""

    def open(self, path: str) -> str:
        return f"{self.origin}{path}"

    def enrol(self, name: str, secret: str = "") -> Page:
        """Take an invitation up, with a new security key."""
        context = self.browser.new_context(viewport={"width": 1280, "height": 900})
        page = self.pages[name] = context.new_page()
        devtools = context.new_cdp_session(page)
        devtools.send("WebAuthn.enable")
        devtools.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})
        page.goto(self.open("/enrol"))
        page.get_by_label("Your invitation").fill(secret or self.invitations[name])
        page.get_by_role("button", name="Go on").click()
        form = page.locator("form[data-webauthn]")
        form.get_by_label("New password").fill(PASSWORD)
        form.get_by_label("The same again").fill(PASSWORD)
        form.get_by_role("button").click()
        page.get_by_role("heading", name="Your account is made").wait_for()
        return page

    def get_page(self, name: str) -> Page:
        """Somebody's page, logged in; a security key is its page's own."""
        if name not in self.pages:
            self.enrol(name)
        return self.log_in(name, self.pages[name])

    def log_in(self, name: str, page: Page) -> Page:
        page.goto(self.open("/login"))
        page.get_by_label("Login").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Go on").click()
        page.get_by_role("button", name="Use the security key").click()
        page.get_by_role("heading", name="Dashboard").wait_for()
        return page


@contextmanager
def open_world(folder: Path, browser: Browser) -> Iterator[World]:
    """Build the site with some cards on it, and serve its console."""
    with open_site(folder) as site:
        card = _fill(site)
        people = [f"{login}={name}" for login, (name, _) in PEOPLE.items()]
        invited = site.kms("officers", "init", "--administrator", people[0], *_list_officers(people[1:]))
        origin = _configure(site.installation.platform_config)
        log = folder / "console.log"
        with log.open("w") as said:
            process = subprocess.Popen(
                [BIN / "kms", "--config", site.installation.platform_config, "console"],
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                start_new_session=True,
            )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line.startswith("ready"), log.read_text()[-3000:]
            secrets = {row["login"]: row["secret"] for row in invited}
            yield World(site, origin, secrets, browser, card=card)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # nobody waits for connections that are kept open
            process.wait(START_SECONDS)
            process.stdout.close()


def _list_officers(people: list[str]) -> list[str]:
    return [part for person in people for part in ("--officer", person)]


def _configure(path: Path) -> str:
    """Let the console speak plain HTTP at a port of its own: browsers take `localhost` for safe."""
    port = find_free_port()
    origin = f"http://localhost:{port}"
    section = f'[console]\nhost = "127.0.0.1"\nport = {port}\norigin = "{origin}"\n\n'
    path.write_text(re.sub(r"\[console\]\n(?:.+\n)*\n", section, path.read_text()))
    return origin


def _fill(site: Site) -> str:
    """Cards in several states, updates, a campaign, a terminal that is suspended; gives a card with a history."""
    keyed = [site.keyed() for _ in range(2)]
    site.issue(scp03_i=0x70)
    others = [site.deliver() for _ in range(4)]
    site.enrol(*others)
    site.force(keyed[0])
    site.visit(keyed[0])
    site.force(keyed[1])
    site.add_terminal("counter-2")
    site.kms("terminals", "suspend", "counter-2", "--reason", "reader is being repaired")
    site.kms("cards", "quarantine", others[0].name, "--reason", "reported as stolen")
    site.kms("keys", "generate", "--kind", "ssd", "--name", "ssd", "--new-generation")
    chosen = ("--reason", "master-rotation", "--master", "ssd", "--generation", "1")
    site.kms("campaigns", "create", "ssd-master-2027", *chosen)
    return keyed[0].name
