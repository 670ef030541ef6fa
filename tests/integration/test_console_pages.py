"""The console's pages as Flask's client sees them, over a real database."""

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from kms.console.pages.forms import FORMS
from kms.console.pages.site import CONTENT_SECURITY_POLICY
from kms.domain.audit import AuditEvent
from kms.domain.people import Role
from kms.domain.permissions import PERMISSIONS, READING, Action
from kms.service.action_definitions.registry import build_registry
from tests.fakes.console_site import BY_ROLE, CANARY, PEOPLE, ConsoleSite, build_console_site
from tests.fakes.records import build_card, build_id, build_master, build_visit

CAMPAIGN = quote(f"campaign {CANARY[:40]}", safe="")
NOT_OFFERED = {Action.CARDS_IMPORT}  # a file of any size: by the command line alone


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleSite]:
    site = build_console_site(tmp_path_factory.mktemp("console"))
    yield site
    site.platform.store.dispose()


def pages() -> dict[str, Action]:
    """An address of each page with the row of the permission table that it is behind."""
    card = build_card(1).identity.hex().upper()
    return {
        "/": Action.RECORDS_READ,
        "/requests": Action.REQUESTS_READ,
        "/alarms": Action.RECORDS_READ,
        "/keys": Action.RECORDS_READ,
        f"/keys/{build_master(1).id}": Action.RECORDS_READ,
        "/policies": Action.RECORDS_READ,
        "/policies/ssd": Action.RECORDS_READ,
        "/cards": Action.RECORDS_READ,
        "/cards?state=QUARANTINED": Action.RECORDS_READ,
        "/cards?doubt=1": Action.RECORDS_READ,
        f"/cards/{card}": Action.RECORDS_READ,
        f"/visits/{build_visit(1).id}": Action.RECORDS_READ,
        "/updates": Action.RECORDS_READ,
        "/updates?state=all": Action.RECORDS_READ,
        "/updates?state=overdue": Action.RECORDS_READ,
        "/campaigns": Action.RECORDS_READ,
        f"/campaigns/{CAMPAIGN}": Action.RECORDS_READ,
        "/terminals": Action.RECORDS_READ,
        f"/terminals/{quote(f'terminal {CANARY}', safe='')}": Action.RECORDS_READ,
        "/terminals/terminal-2": Action.RECORDS_READ,
        "/ceremonies": Action.RECORDS_READ,
        "/password": Action.RECORDS_READ,
        "/people": Action.PEOPLE_READ,
        "/permissions": Action.RECORDS_READ,
        "/audit": Action.AUDIT_READ,
        "/audit?actor=Alice&action=audit.&since=2026-01-01": Action.AUDIT_READ,
    }


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("path", pages())
def test_a_page_is_for_whom_the_table_permits_it(console: ConsoleSite, path: str, role: Role) -> None:
    answer = console.browse(BY_ROLE[role]).get(path)
    if role in PERMISSIONS[pages()[path]].roles:
        assert answer.status_code == 200, answer.text
        assert "issuer" in answer.text
        assert "Lab mode" in answer.text
        assert "Transient wrapping allowed" in answer.text
    else:
        assert answer.status_code == 403
        assert "person.not-permitted" in answer.text


@pytest.mark.parametrize("path", pages())
def test_nobody_sees_a_page_without_a_login(console: ConsoleSite, path: str) -> None:
    answer = console.browse().get(path)
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/login?next=/")


@pytest.mark.parametrize("path", [*pages(), "/login", "/enrol", "/nowhere"])
def test_every_answer_tells_browsers_what_not_to_do(console: ConsoleSite, path: str) -> None:
    answer = console.browse("alice").get(path)
    assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"<style|\sstyle=|<script(?! src=)|\son[a-z]+=", answer.text)


@pytest.mark.parametrize("path", [path for path, action in pages().items() if action is not Action.PEOPLE_READ])
def test_what_people_wrote_is_shown_as_text(console: ConsoleSite, path: str) -> None:
    assert "<script>" not in console.browse("ada").get(path).text


def test_the_canary_is_on_pages_as_text(console: ConsoleSite) -> None:
    browser = console.browse("alice")
    for path in ("/alarms", "/cards", "/people", "/terminals", "/updates?state=all", "/visits/" + build_visit(1).id):
        assert "&lt;script&gt;alert(" in browser.get(path).text, path


def test_every_page_and_form_has_a_row_of_the_permission_table(console: ConsoleSite) -> None:
    open_pages = {name.partition(".")[2] for name, action in console.site.rows.items() if action is None}
    assert open_pages == {"login", "login_password", "login_second", "enrol", "enrol_begin", "enrol_finish"}
    registered = {rule.endpoint for rule in console.app.url_map.iter_rules()} - {"static"}
    assert registered == set(console.site.rows)


def test_every_action_has_its_form() -> None:
    defined = {action for action in Action if action not in READING}
    assert defined - set(FORMS) == NOT_OFFERED


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("action", FORMS)
def test_a_form_is_for_whom_the_table_permits_the_action(console: ConsoleSite, action: Action, role: Role) -> None:
    answer = console.browse(BY_ROLE[role]).get(f"/act/{action}")
    assert answer.status_code == (200 if role in PERMISSIONS[action].roles else 403)


@pytest.mark.parametrize(
    "path", ["/act/cards.quarantine", "/act/cards.quarantine/check", "/logout", "/requests/x/approve"]
)
def test_a_form_without_its_token_is_refused(console: ConsoleSite, path: str) -> None:
    browser = console.browse("alice")
    for data in ({}, {"csrf_token": "0" * 64}):
        answer = browser.client.post(path, data=data)
        assert answer.status_code == 403
        assert "form.forged" in answer.text


def test_a_form_from_another_site_is_refused_even_with_the_token(console: ConsoleSite) -> None:
    browser = console.browse("alice")
    token = re.search(r'name="csrf_token" value="([^"]*)"', browser.get("/act/cards.quarantine").text)
    assert token
    answer = browser.client.post(
        "/act/cards.quarantine/check", data={"csrf_token": token[1]}, headers={"Origin": "https://other.example"}
    )
    assert "form.forged" in answer.text


def test_the_token_of_another_person_is_refused(console: ConsoleSite) -> None:
    page = console.browse("bob").get("/act/cards.quarantine")
    assert console.browse("alice").send(page, "/act/cards.quarantine/check").status_code == 403


def test_an_action_at_once_shows_its_text_first_and_is_recorded(console: ConsoleSite) -> None:
    browser = console.browse("olga")
    card = build_card(1).identity.hex().upper()
    answer = browser.submit("cards.quarantine", card=card, reason="found on the floor")
    assert "done and recorded" in answer.text
    assert "found on the floor" in browser.get(f"/cards/{card}").text
    assert console.browse("alice").submit("cards.release", card=card).status_code == 200


def test_what_is_wrong_in_a_form_is_said_with_its_field(console: ConsoleSite) -> None:
    answer = console.browse("olga").send(
        "/act/cards.quarantine", "/act/cards.quarantine/check", card="not hex", reason="x"
    )
    assert answer.status_code == 400
    assert "input.invalid" in answer.text or "asked for wrongly" in answer.text
    assert 'value="not hex"' in answer.text


def test_a_request_is_shown_exactly_and_rejected_by_another(console: ConsoleSite) -> None:
    fields = {"kind": "ssd", "name": "ssd-2026", "valid_days": "100"}
    asked = console.browse("alice").submit("keys.generate", **fields)
    assert asked.status_code == 303
    path = asked.headers["Location"]
    own = console.browse("alice").get(path)
    assert "Generate the ssd master key ssd-2026 in the HSM; it issues new key sets 100 days." in own.text
    assert "Whoever asked for it does not approve it" in own.text
    assert "Reject for good" not in own.text
    assert "Reject for good" not in console.browse("adam").get(path).text
    seen = console.browse("bob").get(path)
    digest = re.search(r'name="digest" value="([^"]*)"', seen.text)
    assert digest
    assert "request.changed" in console.browse("bob").send(seen, f"{path}/reject", digest="00" * 32).text
    console.browse("bob").send(seen, f"{path}/reject", digest=digest[1])
    assert "rejected" in console.browse("alice").get(path).text


def test_a_campaign_is_asked_for_by_its_form(console: ConsoleSite) -> None:
    fields = {
        "asked.name": "all of them",
        "asked.reason": "forced",
        "asked.chosen.kind": "SSD",
        "asked.max_percent": "20",
    }
    fields |= {"asked.deadline": "2027-01-31T12:00", "asked.chosen.aid_prefix": "A0000001"}
    asked = console.browse("alice").submit("campaigns.create", **fields)
    assert asked.status_code == 303
    text = console.browse("bob").get(asked.headers["Location"]).text
    assert "Replace keys by the campaign all of them, reason forced." in text
    assert "aid prefix A0000001" in text


def test_reading_the_audit_log_is_recorded(console: ConsoleSite) -> None:
    console.browse("ada").get("/audit?subject=card")
    with console.platform.store.reading() as reading:
        newest: AuditEvent = reading.audit.list(limit=1)[0]
    assert (newest.actor, newest.action, newest.detail) == ("person Ada", "audit.read", "subject card")


def test_the_audit_log_goes_on_page_by_page(console: ConsoleSite) -> None:
    browser = console.browse("ada")
    for _ in range(110):
        browser.get("/audit?subject=nothing")
    first = browser.get("/audit?action=audit.read")
    older = re.search(r'href="(/audit\?[^"]*before=[^"]*)"', first.text)
    assert older
    second = browser.get(older[1].replace("&amp;", "&"))
    assert second.status_code == 200
    assert "audit.read" in second.text


@pytest.mark.parametrize(
    "path",
    [
        "/cards/XYZ",
        "/cards?identity=zz",
        "/cards?state=odd",
        "/updates?reason=odd",
        "/audit?since=x",
        "/audit?before=x~y",
        "/keys/" + build_id(77),
        "/requests/none",
        "/campaigns/none",
        "/policies/none",
        "/terminals/none",
        "/act/none",
        "/x",
    ],
)
def test_what_is_not_there_is_a_readable_page(console: ConsoleSite, path: str) -> None:
    answer = console.browse("alice").get(path)
    assert answer.status_code in (400, 404)
    assert re.search(r"input\.(invalid|not-found)", answer.text)
    assert "Reference" in answer.text


@pytest.mark.parametrize("path", ["//evil.example", "https://evil.example", "/\\evil.example", "/logout", "", "\n/"])
def test_after_the_login_people_stay_on_this_site(console: ConsoleSite, path: str) -> None:
    assert 'name="next" value="/"' in console.browse().get(f"/login?next={quote(path)}").text


def test_a_wrong_login_is_refused_without_a_reason(console: ConsoleSite) -> None:
    browser = console.browse()
    refused = browser.send("/login", "/login", login="alice", password="wrong")
    unknown = browser.send("/login", "/login", login="nobody", password="wrong")
    said = [re.search(r'role="alert">([^<]*)<', answer.text) for answer in (refused, unknown)]
    assert all(said)
    assert {found[1] for found in said if found} == {
        "Login, password or second factor is wrong, or this account may not log in now."
    }
    assert refused.status_code == 401


def test_a_password_is_changed_only_with_the_present_one_and_a_second_factor(console: ConsoleSite) -> None:
    fields = {"current": "wrong", "password": "seven brown horses", "totp": "123456"}
    answer = console.browse("olga").send("/password", "/password", **fields, again="seven black horses")
    assert "The two passwords are not the same." in answer.text
    answer = console.browse("olga").send("/password", "/password", **fields, again=fields["password"])
    assert 'role="alert"' in answer.text


def test_a_logged_out_browser_is_forgotten(console: ConsoleSite) -> None:
    browser = console.browse("carl")
    assert browser.send("/", "/logout").status_code == 303
    assert browser.get("/").status_code == 303


def test_the_cookie_is_for_this_site_and_no_script(console: ConsoleSite) -> None:
    cookie = console.browse().get("/login").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


def test_everybody_has_a_browser() -> None:
    assert set(BY_ROLE) == set(Role)
    assert set(BY_ROLE.values()) | {"bob"} == set(PEOPLE)


def test_a_registry_knows_every_form(console: ConsoleSite) -> None:
    assert set(FORMS) <= build_registry(console.platform, force_without=10).actions
