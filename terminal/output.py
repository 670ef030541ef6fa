"""What `kms-terminal` shows: lines and tables for people, or one JSON object a line for machines.

Rules: standard output holds results and progress, standard error holds errors. A command is shown by its name and
status word alone. Text that comes from the server is untrusted: control characters are dropped before it is shown.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from terminal.client import Applied, PendingCard
from terminal.errors import TerminalError
from terminal.identity import CardDetails
from terminal.reader import ReaderStatus
from terminal.relay import Listener, VisitSummary

_PIPED_WIDTH = 200  # a pipe gets a line whole
_LONGEST_TEXT = 500  # characters of a server's text


class Screen(Listener):
    """Shows results and hears a visit. `as_json`: one JSON object a line. `reader`: named in each, for fleets."""

    def __init__(self, *, as_json: bool, reader: str = "") -> None:
        self.as_json = as_json
        self._reader = reader
        self._console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False, markup=False)

    def say(self, event: str, text: str, /, **fields: object) -> None:
        """Show one line: `text` for people; `event` and `fields` for machines."""
        if self.as_json:
            named = {"at_reader": self._reader} if self._reader else {}
            click.echo(json.dumps({"event": event, **named, **fields}))
        else:
            before = f"[{self._reader}] " if self._reader else ""
            self._console.print(Text(_clean(before + text)))

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show a moving sign while something takes its time, on a screen only."""
        if self.as_json or not self._console.is_terminal:
            yield
            return
        with self._console.status(Text(text)):
            yield

    def on_apdu(self, number: int, name: str, status: str) -> None:
        """Show a command that was answered."""
        self.say(
            "command", f"  {number:>2}  {name:<22} {status or 'no answer'}", number=number, name=name, status=status
        )

    def on_notification(self, text: str) -> None:
        """Show a text of the server."""
        self.say("notification", f"  Server: {text}", text=_clean(text))

    def on_resumed(self, session_id: str) -> None:
        """Show that an earlier visit goes on."""
        self.say("resumed", "Going on with the visit that an earlier run left open.", session_id=session_id)

    def on_retry(self, problem: str, pause: float) -> None:
        """Show that the server could not be reached, and when it is tried again."""
        text = f"  The server does not serve: {problem}; trying again in {pause:g} s."
        self.say("retry", text, problem=_clean(problem), pause=pause)

    def show_summary(self, summary: VisitSummary) -> None:
        """Show what a visit took."""
        ended = "Visit over" if summary.card_error is None else "Visit broken off"
        self.say(
            "visit",
            f"{ended}: {summary.commands} commands, {summary.requests} requests, {summary.seconds:.2f} s"
            f" (visit {summary.session_id}).",
            session_id=summary.session_id,
            card=summary.card_identity.hex().upper(),
            commands=summary.commands,
            requests=summary.requests,
            seconds=round(summary.seconds, 3),
            complete=summary.card_error is None,
            resumed=summary.resumed,
            notifications=[_clean(text) for text in summary.notifications],
        )

    def show_applied(self, applied: Applied) -> None:
        """Show that an application was taken."""
        state = f" ({applied.state})" if applied.state else ""
        text = f"The server took the application{state}."
        self.say("applied", text, session_id=applied.session_id, state=_clean(applied.state))

    def show_readers(self, readers: Sequence[ReaderStatus]) -> None:
        """Show the readers and what is in them."""
        if self.as_json:
            for reader in readers:
                self.say("reader", "", name=reader.name, card_present=reader.card_present, atr=reader.atr.hex().upper())
            return
        if not readers:
            self.say("reader", "There is no reader: plug one in.")
            return
        rows = [(reader.name, "yes" if reader.card_present else "no", reader.atr.hex().upper()) for reader in readers]
        self._table(("reader", "card", "ATR"), rows)

    def show_pending(self, cards: Sequence[PendingCard]) -> None:
        """Show what waits for cards."""
        rows = [(card.identity, work.aid, work.reason, work.due_at or "-") for card in cards for work in card.pending]
        if self.as_json:
            for identity, aid, reason, due_at in rows:
                self.say("pending", "", card=identity, aid=aid, reason=_clean(reason), due_at=due_at)
        elif rows:
            self._table(("card", "security domain", "reason", "due"), rows)
        else:
            self.say("pending", "Nothing is pending.")

    def show_card(self, details: CardDetails) -> None:
        """Show a card's identity and what an operator enrols it by."""
        if self.as_json:
            self.say("card", "", **_build_card_fields(details))
            return
        none = "not told"
        rows = [("identity", f"{details.identity.hex().upper()} ({details.source})")]
        rows += [(f"  by {source}", identity.hex().upper()) for source, identity in details.candidates]
        rows += [
            ("ATR", details.atr.hex().upper() or none),
            ("ISD AID", details.isd_aid.hex().upper() if details.isd_aid else none),
            ("SCP02", f"i={details.scp02_i:02X}" if details.scp02_i is not None else none),
            ("SCP03", f"i={details.scp03_i:02X}" if details.scp03_i is not None else none),
            ("key version in use", f"{details.kvn:02X}" if details.kvn is not None else none),
            ("key diversification data", details.kdd.hex().upper() if details.kdd else none),
        ]
        for key in details.keys:
            parts = ", ".join(f"type {kind:02X}, {size} bytes" for kind, size in key.components)
            rows.append((f"  key {key.kvn:02X}/{key.kid:02X}", parts))
        self._table(("", ""), rows, header=False)

    def _table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, header: bool = True) -> None:
        table = Table(box=None, pad_edge=False, show_header=header)
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(_clean(cell)) for cell in row))
        self._console.print(table)


def show_error(error: TerminalError, next_run: str, *, as_json: bool) -> None:
    """Tell on standard error what is wrong, what to do, and what the next run will do."""
    if as_json:
        fields = {"event": "error", "code": error.code, "problem": _clean(error.problem), "remedy": error.remedy}
        click.echo(json.dumps({**fields, "server_code": _clean(error.server_code), "next_run": next_run}), err=True)
        return
    click.echo(_clean(f"{error.problem} [{error.code}]"), err=True)
    click.echo(f"What to do: {error.remedy}", err=True)
    click.echo(f"Next run: {next_run}", err=True)


def _build_card_fields(details: CardDetails) -> dict[str, object]:
    return {
        "identity": details.identity.hex().upper(),
        "source": details.source,
        "candidates": {source: identity.hex().upper() for source, identity in details.candidates},
        "atr": details.atr.hex().upper(),
        "isd_aid": details.isd_aid.hex().upper() if details.isd_aid else None,
        "scp02_i": details.scp02_i,
        "scp03_i": details.scp03_i,
        "kvn": details.kvn,
        "kdd": details.kdd.hex().upper() if details.kdd else None,
        "keys": [
            {"kvn": key.kvn, "kid": key.kid, "components": [{"type": kind, "bytes": n} for kind, n in key.components]}
            for key in details.keys
        ],
    }


def _clean(text: str) -> str:
    """Drop what could command the screen, cut what is too long."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:_LONGEST_TEXT]
