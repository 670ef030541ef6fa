"""The console's pages over a real database, with people who are logged in and a little of everything; the HSM is away.

Every text that anybody could choose holds `CANARY`, which must show as text.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from kms.bootstrap import Platform, open_platform
from kms.bootstrap_console import open_actions, open_requests
from kms.config import load_config
from kms.console.pages import install_pages
from kms.console.pages.sessions import LOGIN
from kms.console.pages.site import Site
from kms.console.services import ConsoleServices
from kms.console_wsgi import build_page_services
from kms.domain.campaigns import Campaign, CampaignFilter, CampaignState
from kms.domain.cards import CardState
from kms.domain.keys import Delivery, KeyState
from kms.domain.people import (
    Account,
    AccountState,
    Credential,
    CredentialKind,
    LoginSession,
    Person,
    PersonState,
    Role,
)
from kms.domain.updates import UpdateReason, UpdateState
from kms.domain.visits import TerminalState, VisitState
from kms.service.login import compute_session_id
from tests.fakes.installation import build_installation
from tests.fakes.policies import put_in_force
from tests.fakes.records import (
    SSD_AID,
    build_alarm,
    build_card,
    build_domain,
    build_id,
    build_isd,
    build_key_set,
    build_master,
    build_platform_key,
    build_terminal,
    build_update,
    build_visit,
    build_visit_event,
)

CANARY = '<script>alert("canary")</script>'
ORIGIN = "http://localhost:8445"
PEOPLE = {
    "adam": frozenset({Role.ADMINISTRATOR}),
    "alice": frozenset({Role.SECURITY_OFFICER}),
    "bob": frozenset({Role.SECURITY_OFFICER}),
    "carl": frozenset({Role.KEY_CUSTODIAN}),
    "olga": frozenset({Role.OPERATOR}),
    "ada": frozenset({Role.AUDITOR}),
}
BY_ROLE = {role: name for name, roles in PEOPLE.items() for role in roles if name != "bob"}


@dataclass
class Browser:
    """Somebody's browser, which keeps cookies and sends forms as browsers do."""

    client: FlaskClient

    def get(self, path: str) -> TestResponse:
        return self.client.get(path)

    def send(self, page: TestResponse | str, path: str, **fields: str) -> TestResponse:
        """Fill the form of a page and send it, with the page's anti-forgery token."""
        page = self.get(page) if isinstance(page, str) else page
        token = re.search(r'name="csrf_token" value="([^"]*)"', page.text)
        assert token
        return self.client.post(path, data={"csrf_token": token[1], **fields}, headers={"Origin": ORIGIN})

    def submit(self, action: str, **fields: str) -> TestResponse:
        """An action as people ask for it: its form, its text, its submission."""
        checked = self.send(f"/act/{action}", f"/act/{action}/check", **fields)
        assert checked.status_code == 200, checked.text
        parameters = re.search(r'name="parameters" value="([^"]*)"', checked.text)
        assert parameters
        return self.send(checked, f"/act/{action}", parameters=unescape(parameters[1]))


@dataclass
class ConsoleSite:
    """The console. `site`: its pages as they are registered."""

    app: Flask
    site: Site
    platform: Platform

    def browse(self, name: str = "") -> Browser:
        """The browser of somebody who is logged in, or of nobody."""
        client = self.app.test_client()
        if name:
            client.set_cookie(LOGIN, f"secret-{name}", domain="localhost")
        return Browser(client)


def build_console_site(folder: Path) -> ConsoleSite:
    installation = build_installation(folder)
    platform = open_platform(load_config(installation.config))
    put_in_force(platform.store)
    _add_people(platform)
    _add_records(platform)
    services = ConsoleServices(
        platform=platform.config.platform.name,
        logins=platform.logins,
        actions=open_actions(platform),
        requests=open_requests(platform, platform.logins),
    )
    app = Flask("kms.console")
    site = install_pages(app, build_page_services(platform, services))
    return ConsoleSite(app, site, platform)


def _add_people(platform: Platform) -> None:
    now = datetime.now(UTC)
    with platform.store.transaction() as tx:
        for number, (name, roles) in enumerate(PEOPLE.items(), 1):
            person = Person(build_id(9000 + number), name.capitalize(), roles, PersonState.ACTIVE, now)
            account = Account(build_id(9100 + number), person.id, name, AccountState.ACTIVE, now)
            session_id = compute_session_id(f"secret-{name}")
            tx.people.add(person)
            tx.accounts.add(account)
            kind = CredentialKind.TOTP
            tx.credentials.add(
                Credential(build_id(9200 + number), account.id, kind, CANARY, b"", PersonState.ACTIVE, now)
            )
            tx.login_sessions.add(LoginSession(session_id, account.id, person.id, now, now, now, kind))


def _add_records(platform: Platform) -> None:
    now = datetime.now(UTC)
    master, card, domain = build_master(1, created_at=now), build_card(1, batch=CANARY), build_domain(1, aid=SSD_AID)
    key_set = build_key_set(1, expires_at=now + timedelta(days=40), state=KeyState.ACTIVE, delivery=Delivery.PROVED)
    campaign = Campaign(
        id=build_id(8500),
        name=f"campaign {CANARY[:40]}",
        reason=UpdateReason.FORCED,
        state=CampaignState.RUNNING,
        chosen=CampaignFilter(batch=CANARY),
        created_at=now,
        created_by="somebody",
        released_until=now,
    )
    done = build_update(2, state=UpdateState.FAILED, finished_at=now, failure=CANARY)
    aside = build_card(2, state=CardState.QUARANTINED, quarantine_reason=CANARY, quarantine_code="officer")
    with platform.store.transaction() as tx:
        tx.master_keys.add(master)
        tx.platform_keys.add(build_platform_key(1))
        tx.cards.add(card)
        tx.cards.add(aside)
        tx.security_domains.add(build_isd(5))
        tx.security_domains.add(domain)
        tx.key_sets.add(replace(key_set, master_id=master.id, security_domain_id=domain.id))
        tx.campaigns.add(campaign)
        tx.key_updates.add(
            build_update(1, state=UpdateState.PENDING, security_domain_id=domain.id, campaign_id=campaign.id)
        )
        tx.key_updates.add(replace(done, security_domain_id=domain.id))
        tx.terminals.add(build_terminal(1, name=f"terminal {CANARY}"))
        tx.terminals.add(build_terminal(2, name="terminal-2", state=TerminalState.SUSPENDED, reason=CANARY))
        visit = build_visit(1, state=VisitState.ENDED, result=CANARY)
        tx.visits.add(visit)
        tx.visits.add_event(build_visit_event(1, visit_id=visit.id, text=CANARY))
        tx.alarms.raise_(build_alarm(1, text=CANARY, subject=CANARY, cleared_at=None))
