"""`kms serve`: the API's server."""

from typing import TYPE_CHECKING

import click

from kms.cli.context import get_config

if TYPE_CHECKING:
    from flask import Flask


@click.command("serve")
@click.pass_context
def serve_command(ctx: click.Context) -> None:
    """Serve terminals over TLS until a signal ends it. What is missing is said first, a line each."""
    from kms.cli.preflight import check_ready_to_serve  # noqa: PLC0415 - `kms --help` loads no server
    from kms.serve import serve  # noqa: PLC0415 - the same

    config = get_config(ctx)
    check_ready_to_serve(config)

    def create_app() -> "Flask":
        from kms.wsgi import create_app as build  # noqa: PLC0415 - loads the PKCS#11 library: workers only

        return build(config)

    serve(
        config.server,
        create_app,
        lambda address: click.echo(f"ready {address}"),
        shares_metrics=config.metrics.port is not None,
    )
