"""`kms doctor`: what stands between this installation and production."""

import click

from kms.cli.context import get_config, json_option
from kms.cli.output import print_json
from kms.domain.fitness import Finding, Severity

_COLOURS = {Severity.REFUSED: "red", Severity.UNSEEN: "red", Severity.WEAKNESS: "yellow"}


@click.command("doctor")
@json_option
@click.pass_context
def doctor_command(ctx: click.Context, as_json: bool) -> None:
    """List what production mode refuses here, with why and how to mend it; changes nothing.

    Asks the rules by which `kms serve`, `console` and `scheduler` refuse to start in production, in any mode, and also
    while token or database are away. Ends with exit code 1 while anything is in the way.
    """
    from kms.bootstrap_doctor import open_doctor  # noqa: PLC0415 - loads the PKCS#11 library

    config = get_config(ctx)
    with open_doctor(config) as doctor:
        findings = sorted(doctor.examine(), key=lambda item: list(Severity).index(item.severity))
    fit = not any(item.is_in_the_way for item in findings)
    if as_json:
        print_json(
            {
                "platform": config.platform.name,
                "mode": config.platform.mode,
                "fit_for_production": fit,
                "findings": [_build_row(item) for item in findings],
            }
        )
    else:
        for item in findings:
            _show(item)
        blocking = sum(item.is_in_the_way for item in findings)
        weak = len(findings) - blocking
        click.echo(
            f"{config.platform.name} ({config.platform.mode}): "
            + ("nothing stands" if fit else f"{blocking} findings stand")
            + f" between it and production; weaknesses: {weak}."
        )
    if not fit:
        ctx.exit(1)


def _build_row(item: Finding) -> dict[str, str]:
    return {
        "where": item.where,
        "severity": item.severity,
        "what": item.what,
        "why": item.why,
        "mend": item.mend,
    }


def _show(item: Finding) -> None:
    click.echo(f"{click.style(item.severity, fg=_COLOURS[item.severity], bold=True)}  {item.where}: {item.what}")
    click.echo(f"  why:  {item.why}.")
    click.echo(f"  mend: {item.mend}.")
