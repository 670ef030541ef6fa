"""The root of the `kms` command: how every command's errors are told.

Rules: exit code 1 for an error we know (`KmsError`), 2 for wrong usage, 130 for Ctrl-C, 70 for a fault of ours. The
last shows a reference and no data: its text could hold anything. Errors go to standard error, as JSON when the
command was asked for JSON, so that standard output holds results alone.
"""

import json
import os
import sys
import traceback
import uuid
from collections.abc import Sequence
from typing import Any

import click

from kms.cli.context import Invocation
from kms.errors import Code, KmsError

EXIT_ERROR = 1
EXIT_FAULT = 70  # EX_SOFTWARE of sysexits.h
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

MAX_FAULTS_SHOWN = 200


class RootGroup(click.Group):
    """A group that ends the process with the exit codes above and tells errors the one way we tell them."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,  # noqa: ANN401 - click hands these to its own constructor
    ) -> Any:  # noqa: ANN401 - the signature is click's
        """Run the command line and leave by `SystemExit`; with `standalone_mode` off errors are raised instead."""
        extra["windows_expand_args"] = windows_expand_args
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        invocation = extra.pop("obj", None) or Invocation()
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, obj=invocation, **extra)
        except KmsError as error:
            _tell_error(error, as_json=invocation.as_json)
            sys.exit(EXIT_ERROR)
        except click.Abort:
            click.echo("Interrupted.", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except Exception as error:  # noqa: BLE001 - the last handler: whatever it is, no data may reach the screen
            _tell_fault(error, debug=invocation.debug, as_json=invocation.as_json)
            sys.exit(EXIT_FAULT)
        finally:
            invocation.close()
        sys.exit(code if isinstance(code, int) else 0)


def _tell_error(error: KmsError, *, as_json: bool) -> None:
    if as_json:
        faults = [{"where": fault.where, "what": fault.what} for fault in error.faults]
        click.echo(json.dumps({"code": str(error.code), "detail": error.detail, "faults": faults}), err=True)
        return
    click.echo(f"{click.style('Error', fg='red', bold=True)} [{error.code}] {error.detail}", err=True)
    for fault in error.faults[:MAX_FAULTS_SHOWN]:
        click.echo(f"  {fault.where}: {fault.what}", err=True)
    if len(error.faults) > MAX_FAULTS_SHOWN:
        click.echo(f"  and {len(error.faults) - MAX_FAULTS_SHOWN} more (--json shows all)", err=True)


def _tell_fault(error: Exception, *, debug: bool, as_json: bool) -> None:
    reference = uuid.uuid4().hex[:12]
    detail = f"Something went wrong that should not ({type(error).__name__}, reference {reference})."
    if as_json:
        click.echo(json.dumps({"code": Code.INTERNAL, "detail": detail, "reference": reference}), err=True)
    else:
        click.echo(f"{detail} Run again with --debug to see where.", err=True)
    if debug or os.environ.get("KMS_DEBUG"):
        traceback.print_exception(error)
