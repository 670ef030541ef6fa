"""The command `kms-terminal`: reads cards and relays what the server sends them.

Rules: exit code 0 when done, 1 when something failed (what is wrong, what to do, what the next run will do), 2 for
wrong usage, 70 for a fault of the program's own, 130 for Ctrl-C and SIGTERM. A visit that was broken off stays in the
journal; every command that serves a card settles it first.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from terminal.card import Card
from terminal.client import PendingQuery, ServerClient, open_http
from terminal.config import TerminalConfig, load_config
from terminal.errors import TerminalCode, TerminalError
from terminal.fleet import run_fleet
from terminal.identity import build_csv, read_details, read_identity
from terminal.journal import Journal, OpenVisit
from terminal.output import Screen, show_error
from terminal.reader import PcscCard, Readers
from terminal.relay import Relay
from terminal.virtual_card.app import virtual_card
from terminal.visits import new_session_id, serve_card, settle_without_card

DEFAULT_CONFIG = Path("config/terminal.toml")
EXIT_FAILED = 1
EXIT_FAULT = 70  # EX_SOFTWARE of sysexits.h, as `kms` does
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells report it

# Faults of one card, after which `run` waits for the next one; all others end it.
_FAULTS_OF_A_CARD = frozenset(
    {
        TerminalCode.CARD_NONE,
        TerminalCode.CARD_GONE,
        TerminalCode.CARD_MUTE,
        TerminalCode.CARD_PROTOCOL,
        TerminalCode.CARD_IDENTITY,
        TerminalCode.READER_BUSY,
        TerminalCode.SERVER_REFUSED,
        TerminalCode.SESSION_OVER,
        # It was away for `timeouts.reconnect`: what the card answered is in the journal, and the next card tries again.
        TerminalCode.SERVER_UNREACHABLE,
    }
)

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Invocation:
    """One start of the command: its options, and what the next start will do."""

    config_path: Path = DEFAULT_CONFIG
    as_json: bool = False
    reader_name: str | None = None
    next_run: str = "It starts afresh: no visit was begun, no card was touched."

    @property
    def screen(self) -> Screen:
        """Where this start shows things."""
        return Screen(as_json=self.as_json)

    def load(self) -> TerminalConfig:
        """Read the configuration; raises `config.invalid`."""
        return load_config(self.config_path)


class TerminalGroup(click.Group):
    """A group that leaves by the exit codes above and tells errors in one way."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,  # noqa: ANN401 -- click hands these to its own constructor
    ) -> Any:  # noqa: ANN401 -- the signature is click's
        """Run the command line and leave by SystemExit; with `standalone_mode` off errors are raised instead."""
        extra["windows_expand_args"] = windows_expand_args
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        invocation = Invocation()
        try:
            with _stop_by_signal():
                code = super().main(args, prog_name, complete_var, standalone_mode=False, obj=invocation, **extra)
        except TerminalError as error:
            show_error(error, invocation.next_run, as_json=invocation.as_json)
            sys.exit(EXIT_FAILED)
        except click.Abort:  # what click makes of KeyboardInterrupt
            click.echo(f"\nInterrupted. Next run: {invocation.next_run}", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except Exception as error:
            if os.environ.get("KMS_TERMINAL_DEBUG"):
                raise
            what = f"Something went wrong that should not ({type(error).__name__}). KMS_TERMINAL_DEBUG=1 shows where."
            click.echo(f"{what}\nNext run: {invocation.next_run}", err=True)
            sys.exit(EXIT_FAULT)
        sys.exit(code if isinstance(code, int) else 0)


@contextmanager
def _stop_by_signal() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does, and Ctrl-C end it even where a shell put it in the background."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _set_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.ensure_object(Invocation).as_json |= value


def _set_reader(context: click.Context, _: click.Parameter, value: str | None) -> None:
    context.ensure_object(Invocation).reader_name = value


def _json_option(command: F) -> F:
    return click.option(
        "--json", is_flag=True, expose_value=False, callback=_set_json, help="Print one JSON object a line."
    )(command)


def _reader_option(command: F) -> F:
    return click.option(
        "--reader", expose_value=False, callback=_set_reader, help="Part of the reader's name (default: configured)."
    )(command)


def _hex_bytes(shortest: int, longest: int) -> Callable[[click.Context, click.Parameter, str | None], bytes | None]:
    def parse(_: click.Context, __: click.Parameter, value: str | None) -> bytes | None:
        if value is None:
            return None
        try:
            data = bytes.fromhex(value)
        except ValueError:
            data = b""
        if not shortest <= len(data) <= longest:
            raise click.BadParameter(f"must be {shortest} to {longest} bytes in hexadecimal")
        return data

    return parse


@click.group(cls=TerminalGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=DEFAULT_CONFIG,
    envvar="KMS_TERMINAL_CONFIG",
    show_default=True,
    show_envvar=True,
    help="Configuration file.",
)
@_json_option
@click.pass_context
def main(context: click.Context, config_path: Path) -> None:
    """Relay between smart cards and a key-management server."""
    context.ensure_object(Invocation).config_path = config_path


@main.command()
@_json_option
@click.pass_obj
def readers(invocation: Invocation) -> None:
    """List the readers and what is in them."""
    config = invocation.load()
    with _open_readers(config) as found:
        invocation.screen.show_readers(found.list_readers())


@main.command()
@click.option("--csv", "as_csv", is_flag=True, help="Print the row that enrols the card (`kms cards import`).")
@click.option("--vendor-master", default="", help="For --csv: name of the vendor's master key at the server.")
@click.option("--diversification", default="", help="For --csv: none, visa2 or emv-cps-1.1.")
@click.option("--profile", default="", help="For --csv: name of the card profile at the server.")
@_reader_option
@_json_option
@click.pass_obj
def identify(invocation: Invocation, as_csv: bool, vendor_master: str, diversification: str, profile: str) -> None:
    """Show the identity of the card in the reader, and what it says of itself."""
    config = invocation.load()
    with _open_card(invocation, config) as card:
        details = read_details(card, config.identity_order, card.atr)
    if as_csv:
        click.echo(build_csv(details, vendor_master, diversification, profile), nl=False)
    else:
        invocation.screen.show_card(details)


@main.command()
@click.option(
    "--card", "identity", callback=_hex_bytes(1, 32), help="A card's identity in hex (default: present card)."
)
@click.option("--all", "all_cards", is_flag=True, help="All cards that this terminal serves; no card is needed.")
@click.option("--aid", callback=_hex_bytes(5, 16), help="Only this security domain (AID in hex).")
@click.option("--reason", default="", help="Only updates for this reason (initial, expiry, forced, compromise, ...).")
@click.option("--due-before", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]), help="Only what is due before.")
@click.option("--limit", type=click.IntRange(1), help="Most cards to show.")
@_reader_option
@_json_option
@click.pass_obj
def pending(  # noqa: PLR0917 -- click hands each option over by name
    invocation: Invocation,
    identity: bytes | None,
    all_cards: bool,
    aid: bytes | None,
    reason: str,
    due_before: datetime | None,
    limit: int | None,
) -> None:
    """List what waits for the card in the reader, the earliest due first. Times are UTC."""
    config = invocation.load()
    before = f"{due_before:%Y-%m-%dT%H:%M:%SZ}" if due_before is not None else ""
    wanted = PendingQuery(aid, reason, before, limit)
    if all_cards and identity is not None:
        raise click.UsageError("Give --card or --all, not both.")
    if not all_cards and identity is None:
        with _open_card(invocation, config) as card:
            identity = read_identity(card, config.identity_order)
    with _open_server(invocation, config) as server:
        if invocation.as_json:  # each page as it comes: a fleet's list may be long
            for page in server.iterate_pending(identity, wanted):
                invocation.screen.show_pending(page)
            return
        invocation.screen.show_pending(server.list_pending(identity, wanted))


@main.command()
@click.option("--application", required=True, callback=_hex_bytes(5, 16), help="AID of the application, in hex.")
@_reader_option
@_json_option
@click.pass_obj
def apply(invocation: Invocation, application: bytes) -> None:
    """Apply for an application on the card in the reader, and run the visit that brings its security domain up."""
    config = invocation.load()
    with _open_relay(invocation, config) as (server, relay), _open_card(invocation, config) as card:
        identity = read_identity(card, config.identity_order)

        def open_session() -> str:
            applied = server.apply(identity, application)
            invocation.screen.show_applied(applied)
            return applied.session_id

        _serve(invocation, relay, card, identity, open_session)


@main.command()
@_reader_option
@_json_option
@click.pass_obj
def once(invocation: Invocation) -> None:
    """Serve the card in the reader: one visit."""
    config = invocation.load()
    with _open_relay(invocation, config) as (_, relay):
        _serve_one(invocation, config, relay)


@main.command()
@click.option(
    "--reader",
    "reader_names",
    multiple=True,
    help="Part of the reader's name (default: configured). More than one: all of them at once.",
)
@click.option("--all-readers", is_flag=True, help="Serve all readers that are plugged in now, at once.")
@_json_option
@click.pass_obj
def run(invocation: Invocation, reader_names: tuple[str, ...], all_readers: bool) -> None:
    """Serve every card that is presented, until Ctrl-C.

    Several readers are served side by side, each with a journal of its own in a folder named after it.
    """
    config = invocation.load()
    if all_readers and reader_names:
        raise click.UsageError("Give --reader or --all-readers, not both.")
    if all_readers:
        with _open_readers(config) as found:
            reader_names = tuple(reader.name for reader in found.list_readers())
        if not reader_names:
            raise TerminalError(TerminalCode.READER_NONE, "There is no reader.", "Plug one in, then start again.")
    if len(reader_names) > 1 or all_readers:
        invocation.next_run = "Each reader goes on with the visit that its journal holds open, if any."
        run_fleet(config, reader_names, as_json=invocation.as_json)
        return
    if reader_names:
        invocation.reader_name = reader_names[0]
    _run_one(invocation, config)


def _run_one(invocation: Invocation, config: TerminalConfig) -> None:
    screen = invocation.screen
    with _open_relay(invocation, config) as (_, relay), _open_readers(config) as found:
        name_part = _reader_name(invocation, config)
        if found.find_card(name_part) is None:
            settle_without_card(relay)
        while True:
            screen.say("waiting", "Present a card (Ctrl-C ends).")
            with screen.working("Waiting for a card"):
                reader_name = found.wait_for_card(name_part, None)
            try:
                with _connect(found, reader_name) as card:
                    _serve(invocation, relay, card, read_identity(card, config.identity_order))
            except TerminalError as error:
                if error.code not in _FAULTS_OF_A_CARD:
                    raise
                show_error(error, _describe_next_run(relay.journal.find_open_visit()), as_json=invocation.as_json)
            screen.say("remove", "Take the card out.", reader=reader_name)
            with screen.working("Waiting for the card to be taken out"):
                found.wait_for_removal(reader_name)


main.add_command(virtual_card)


def _serve_one(invocation: Invocation, config: TerminalConfig, relay: Relay) -> None:
    with _open_card(invocation, config) as card:
        _serve(invocation, relay, card, read_identity(card, config.identity_order))


def _serve(
    invocation: Invocation, relay: Relay, card: Card, identity: bytes, open_session: Callable[[], str] = new_session_id
) -> None:
    """Serve one card and show it; raises what went wrong with server, journal or card."""
    screen = invocation.screen
    screen.say("card-served", f"Card {identity.hex().upper()}", card=identity.hex().upper())
    with screen.working("The server and the card are talking; leave the card where it is"):
        served = serve_card(relay, card, identity, open_session)
    for summary in (served.settled, served.visit):
        if summary is not None:
            screen.show_summary(summary)
    if served.card_error is not None:
        raise served.card_error


@contextmanager
def _open_readers(config: TerminalConfig) -> Iterator[Readers]:
    found = Readers(config.timeouts.reader_call)
    try:
        yield found
    finally:
        found.close()


@contextmanager
def _connect(found: Readers, reader_name: str) -> Iterator[PcscCard]:
    card = found.connect(reader_name)
    try:
        yield card
    finally:
        card.disconnect()


@contextmanager
def _open_card(invocation: Invocation, config: TerminalConfig) -> Iterator[PcscCard]:
    with _open_readers(config) as found:
        reader_name = found.wait_for_card(_reader_name(invocation, config), config.timeouts.card)
        with _connect(found, reader_name) as card:
            yield card


@contextmanager
def _open_server(invocation: Invocation, config: TerminalConfig) -> Iterator[ServerClient]:
    with ServerClient(open_http(config), config.timeouts.reconnect, invocation.screen.on_retry) as server:
        yield server


@contextmanager
def _open_relay(invocation: Invocation, config: TerminalConfig) -> Iterator[tuple[ServerClient, Relay]]:
    """Open journal and server; whatever ends the block, what the next run will do is known from the journal."""
    with Journal(config.journal_directory) as journal, _open_server(invocation, config) as server:
        for warning in journal.warnings:
            click.echo(warning, err=True)
        try:
            yield server, Relay(server, journal, listener=invocation.screen)
        finally:
            invocation.next_run = _describe_next_run(journal.find_open_visit())


def _reader_name(invocation: Invocation, config: TerminalConfig) -> str:
    return config.reader_name if invocation.reader_name is None else invocation.reader_name


def _describe_next_run(open_visit: OpenVisit | None) -> str:
    if open_visit is None:
        return "It begins a new visit, in which the server first finds out how the card stands."
    if not open_visit.ordered:
        return "It begins this visit again; no command of it has reached the card."
    if open_visit.report is not None:
        return "It first gives the server the card's answers, which are safe on disk, and goes on from there."
    return "It first has the server look at the card: some commands may have reached it, and none is sent twice."
