from flask import Flask
from werkzeug.test import Client

from kms.console import create_console
from tests.fakes.acting_people import Office


def test_the_admin_api_stands_below_admin_and_everything_else_is_pages() -> None:
    def install_pages(app: Flask) -> None:
        app.add_url_rule("/", "home", lambda: "a page")

    client = Client(create_console(Office().services, install_pages))
    assert client.get("/").text == "a page"
    assert "login.needed" in client.get("/admin/v1/whoami").text
    assert client.get("/v1/whoami").status_code == 404
    assert "input.not-found" in client.get("/admin").text
