"""`kms console`: the console's server."""

from typing import TYPE_CHECKING

import click

from kms.cli.context import get_config

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


@click.command("console")
@click.pass_context
def console_command(ctx: click.Context) -> None:
    """Serve people's pages and the admin API until a signal ends it. What is missing is said first, a line each."""
    from kms.cli.preflight import check_ready_for_console  # noqa: PLC0415 - `kms --help` loads no server
    from kms.serve import serve_console  # noqa: PLC0415 - the same

    config = get_config(ctx)
    check_ready_for_console(config)

    def create_app() -> "WSGIApplication":
        from kms.console_wsgi import create_console_app  # noqa: PLC0415 - loads the PKCS#11 library: workers only

        return create_console_app(config)

    serve_console(config.console, create_app, lambda address: click.echo(f"ready {address}"))
