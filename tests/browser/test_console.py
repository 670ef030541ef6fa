"""The console in a real browser: people with security keys log in, look, ask, approve and reject.

The screenshots of every page go to var/screenshots, to be looked at: desktop and tablet, light and dark.
"""

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.console_world import World

SCREENSHOTS = Path(__file__).resolve().parents[2] / "var" / "screenshots"
WIDTHS = (1280, 820)
SCHEMES: tuple[Any, ...] = ("light", "dark")
PAGES = {
    "dashboard": "/",
    "requests": "/requests",
    "ceremonies": "/ceremonies",
    "alarms": "/alarms",
    "keys": "/keys",
    "policies": "/policies",
    "policy": "/policies/ssd",
    "cards": "/cards",
    "updates": "/updates?state=all",
    "campaigns": "/campaigns",
    "campaign": "/campaigns/ssd-master-2027",
    "terminals": "/terminals",
    "terminal": "/terminals/counter-2",
    "people": "/people",
    "permissions": "/permissions",
    "audit": "/audit?action=campaign",
    "form": "/act/campaigns.create",
    "error": "/nowhere",
}


@pytest.fixture(scope="module")
def alice(world: World) -> Page:
    return world.get_page("alice")


@pytest.fixture(scope="module")
def bob(world: World) -> Page:
    return world.get_page("bob")


def check_accessible(page: Page) -> None:
    """Axe finds nothing serious; the page's policy stays in force."""
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
    serious = [
        (item["id"], [node["html"][:200] for node in item["nodes"]][:3])
        for item in found.response["violations"]
        if item["impact"] in ("serious", "critical")
    ]
    assert serious == []


def shoot(page: Page, name: str) -> None:
    """A page as it looks at each width and in each scheme; checked for accessibility in both schemes."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert overflow <= 0, f"{name} is wider than {width}"
            page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
        check_accessible(page)


def ask(page: Page, world: World, name: str) -> str:
    """Ask for a campaign by its form; the address of the request."""
    page.goto(world.open("/act/campaigns.create"))
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Kind of security domain").select_option("SSD")
    page.get_by_label("AID begins with").fill("A000000951")
    page.get_by_role("button", name="Go on to the exact text").click()
    assert f"Replace keys by the campaign {name}, reason forced." in page.locator(".exact").inner_text()
    page.get_by_label("Reason").fill("TICKET-7")
    page.get_by_role("button", name="Ask for it").click()
    page.get_by_role("heading", name="Request pending").wait_for()
    return page.url


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_and_fits_its_width(world: World, alice: Page, name: str) -> None:
    alice.goto(world.open(PAGES[name]))
    assert alice.get_by_text("Lab mode").first.is_visible()
    assert alice.get_by_text("Transient wrapping allowed").is_visible()
    shoot(alice, name)


def test_a_card_shows_its_history_and_what_would_be_sent(world: World, alice: Page) -> None:
    alice.goto(world.open("/cards"))
    alice.get_by_label("Identity begins with").fill(world.card)
    alice.get_by_role("button", name="Search").click()
    assert "PUT KEY: key set" in alice.locator("main").inner_text()
    assert alice.get_by_text("The keys are replaced when the card is next presented.").is_visible()
    shoot(alice, "card")


def test_a_campaign_is_approved_by_another_officer_with_their_security_key(
    world: World, alice: Page, bob: Page
) -> None:
    address = ask(alice, world, "all-ssds")
    assert alice.get_by_role("button", name="Approve").count() == 0
    bob.goto(world.open("/"))
    bob.get_by_role("link", name="Replace keys by the campaign all-ssds").click()
    assert "TICKET-7" in bob.locator("main").inner_text()
    shoot(bob, "request")
    bob.get_by_role("button", name="Approve with the security key").click()
    bob.get_by_role("heading", name="Request executed").wait_for()
    assert bob.get_by_text("with a security key").is_visible()
    alice.goto(address)
    assert alice.get_by_role("heading", name="Request executed").is_visible()
    alice.goto(world.open("/campaigns/all-ssds"))
    assert alice.get_by_role("heading", name="all-ssds").is_visible()


def test_another_campaign_is_rejected_for_good(world: World, alice: Page, bob: Page) -> None:
    address = ask(alice, world, "not-this-one")
    bob.goto(address)
    bob.get_by_role("button", name="Reject for good").click()
    bob.get_by_role("heading", name="Request rejected").wait_for()
    assert bob.get_by_role("button", name="Approve").count() == 0
    alice.goto(world.open("/campaigns/not-this-one"))
    assert alice.get_by_text("input.not-found").is_visible()


def test_what_was_done_is_in_the_audit_log_and_so_is_reading_it(world: World, alice: Page) -> None:
    alice.goto(world.open("/audit?action=request."))
    assert "person Bob Officer" in alice.locator("main").inner_text()
    alice.goto(world.open("/audit?action=audit.read"))
    assert alice.locator("tbody tr").count() >= 2


def test_the_pages_before_the_login_are_accessible(world: World) -> None:
    page = world.browser.new_context().new_page()
    for name, path in (("login", "/login"), ("invitation", "/enrol")):
        page.goto(world.open(path))
        shoot(page, name)
    page.get_by_label("Your invitation").fill(world.invitations["dora"])
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("heading", name="Welcome, Dora Officer").wait_for()
    shoot(page, "enrol")
    assert all(cookie.get("value", "?") not in page.url for cookie in page.context.cookies())


def test_pages_work_without_javascript(world: World, alice: Page) -> None:
    cookies: Any = alice.context.cookies()
    context = world.browser.new_context(java_script_enabled=False)
    context.add_cookies(cookies)
    page = context.new_page()
    page.goto(world.open("/"))
    page.get_by_role("link", name="Cards", exact=True).click()
    page.get_by_label("Identity begins with").fill(world.card)
    page.get_by_role("button", name="Search").click()
    assert page.get_by_role("heading", name=world.card).is_visible()


def test_a_closed_login_leads_to_the_login_page(world: World, bob: Page) -> None:
    bob.goto(world.open("/"))
    bob.get_by_role("button", name="Log out").click()
    bob.get_by_role("heading", name="Log in").wait_for()
    bob.goto(world.open("/keys"))
    assert bob.get_by_role("heading", name="Log in").is_visible()
