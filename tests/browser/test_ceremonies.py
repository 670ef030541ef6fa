"""In real browsers: a ceremony from request to record, and a new custodian who enters a component."""

import json
import re
import secrets

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from playwright.sync_api import Page

from kms.domain.permissions import Action
from tests.browser.console_world import World
from tests.browser.test_console import check_accessible, shoot


@pytest.fixture(scope="module")
def officers(world: World) -> tuple[Page, Page]:
    return world.get_page("alice"), world.get_page("bob")


def act(page: Page, world: World, action: Action, address: str = "", **fields: str) -> None:
    """Fill an action's form by the fields' names, read the text, send it."""
    page.goto(world.open(address or f"/act/{action}"))
    for name, value in fields.items():
        page.locator(f'[name="{name}"]').fill(value)
    page.get_by_role("button", name="Go on to the exact text").click()
    page.get_by_role("heading", name="Read it again").wait_for()
    page.get_by_role("button", name=re.compile("Do it|Ask for it")).click()
    page.get_by_role("heading", name=re.compile("Done|Request pending")).wait_for()


def approve(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="Approve with the security key").click()
    page.get_by_role("heading", name="Request executed").wait_for()


def hold(alice: Page, bob: Page, world: World, script: str, **fields: str) -> str:
    """Ask for a ceremony, have it approved; its address."""
    alice.goto(world.open(f"/ceremonies/scripts/{script}"))
    check_accessible(alice)
    alice.get_by_role("link", name="Hold this ceremony").click()
    act(alice, world, Action.CEREMONIES_START, alice.url.removeprefix(world.origin), **fields)
    approve(bob, alice.url)
    alice.goto(world.open("/ceremonies"))
    alice.get_by_role("link", name="Do your part").first.click()
    return alice.url


def do_part(page: Page, world: World, address: str, **fields: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="Do your part").click()
    act(page, world, Action.CEREMONIES_STEP, page.url.removeprefix(world.origin), **fields)


def test_a_master_is_generated_by_two_officers(world: World, officers: tuple[Page, Page]) -> None:
    alice, bob = officers
    address = hold(alice, bob, world, "generate-ssd-master", key_name="ssd")
    shoot(alice, "ceremony")
    for page in (alice, bob):
        do_part(page, world, address)
    do_part(alice, world, address)
    alice.goto(address)
    shown = alice.locator("dd strong.mono").inner_text()
    for page in (alice, bob):
        do_part(page, world, address, kcv=shown)
    for page in (alice, bob):
        do_part(page, world, address)
    alice.goto(address)
    assert "Awaited: 1 security-officer." in alice.locator("main").inner_text()
    do_part(bob, world, address)
    alice.goto(address)
    with alice.expect_download() as download:
        alice.get_by_role("link", name="Export the signed record").click()
    record = world.site.folder / "record.json"
    download.value.save_as(record)
    verified = json.loads(world.site.run("ceremony", "verify", str(record), "--json").stdout)
    assert verified["kcv"] == shown
    assert verified["key_name"] == "ssd"


def test_a_custodian_is_added_and_enters_a_component(world: World, officers: tuple[Page, Page]) -> None:
    alice, bob = officers
    adam = world.get_page("adam")
    adam.goto(world.open("/act/people.add"))
    adam.get_by_label("key-custodian").check()
    adam.locator('[name="name"]').fill("Carl Custodian")
    adam.locator('[name="login"]').fill("carl")
    adam.get_by_role("button", name="Go on to the exact text").click()
    adam.get_by_role("button", name="Ask for it").click()
    approve(alice, adam.url)
    act(adam, world, Action.PEOPLE_INVITE, login="carl")
    carl = world.enrol("carl", adam.locator("#invitation").inner_text())
    act(alice, world, Action.PEOPLE_CONFIRM, login="carl", code=carl.locator(".secret").inner_text())
    world.log_in("carl", carl)

    component = secrets.token_bytes(16)
    address = hold(alice, bob, world, "import-vendor-master", key_name="maker", expected_kcv="8BAF47")
    for page in (alice, bob):
        do_part(page, world, address)
    do_part(alice, world, address)
    carl.goto(address)
    carl.get_by_role("button", name="Enter component 1").click()
    check_accessible(carl)
    carl.get_by_label("Component").fill(component.hex())
    carl.get_by_role("button", name="Enter it").click()
    carl.get_by_role("status").wait_for()
    assert build_kcv(component) in carl.get_by_role("status").inner_text()
    carl.get_by_role("link", name="Back to the ceremony").click()
    assert carl.get_by_role("heading", name="Components", exact=True).is_visible()
    act(alice, world, Action.CEREMONIES_ABORT, ceremony=address.rpartition("/")[2], why="the test is over")


def build_kcv(component: bytes) -> str:
    """The check value of a component as custodians have it on paper: three zero-encrypted bytes."""
    encryptor = Cipher(TripleDES(component + component[:8]), modes.ECB()).encryptor()  # noqa: S305 - one block
    return encryptor.update(bytes(8))[:3].hex().upper()
