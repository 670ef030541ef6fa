"""Several readers on one host, served side by side.

Rules: a reader has a thread, a PC/SC context, a connection and a journal of its own, in a folder named after it, so
that no two share a visit. What goes wrong at one reader stops none of the others: a fault of a card waits for the next
card, any other is told, and the reader is tried again after a pause that grows. A signal ends all of them between two
cards; a visit that does not end in time stays in its journal, as after a crash.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from terminal.client import ServerClient, open_http
from terminal.config import TerminalConfig
from terminal.errors import TerminalCode, TerminalError
from terminal.identity import read_identity
from terminal.journal import Journal
from terminal.output import Screen, show_error
from terminal.reader import Readers
from terminal.relay import Relay
from terminal.visits import serve_card, settle_without_card

FIRST_PAUSE = 1.0  # seconds before a reader that failed is tried again, doubled each time
LONGEST_PAUSE = 60.0
LOOK_SECONDS = 1.0  # how long a wait for a card lasts before the end is looked for
PATIENCE = 30.0  # seconds that visits get to end in after a signal

# Faults of one card: the next one is waited for.
CARD_FAULTS = frozenset(
    {
        TerminalCode.CARD_GONE,
        TerminalCode.CARD_MUTE,
        TerminalCode.CARD_PROTOCOL,
        TerminalCode.CARD_IDENTITY,
        TerminalCode.READER_BUSY,
        TerminalCode.SERVER_REFUSED,
        TerminalCode.SESSION_OVER,
    }
)


@dataclass
class ReaderLoop:
    """One reader's work, for ever. `stop`: set to end it between two cards."""

    config: TerminalConfig
    reader_name: str
    screen: Screen
    stop: threading.Event
    open_readers: Callable[[], Readers]
    open_server: Callable[[], ServerClient]
    served: int = field(default=0, init=False)

    def run(self) -> None:
        """Serve cards until `stop`; faults that are no card's are told and tried again after a pause."""
        pause = FIRST_PAUSE
        while not self.stop.is_set():
            before = self.served
            try:
                self._serve_cards()
            except TerminalError as error:
                self._tell(error)
                pause = FIRST_PAUSE if self.served > before else min(pause * 2, LONGEST_PAUSE)
                self.stop.wait(pause)

    def _serve_cards(self) -> None:
        readers = self.open_readers()
        try:
            folder = find_journal(self.config.journal_directory, self.reader_name)
            with Journal(folder) as journal, self.open_server() as server:
                relay = Relay(server, journal, listener=self.screen)
                if readers.find_card(self.reader_name) is None:
                    settle_without_card(relay)
                while not self.stop.is_set():
                    self._serve_next(readers, relay)
        finally:
            readers.close()

    def _serve_next(self, readers: Readers, relay: Relay) -> None:
        try:
            name = readers.wait_for_card(self.reader_name, LOOK_SECONDS)
        except TerminalError as error:
            if error.code is TerminalCode.CARD_NONE:
                return
            raise
        try:
            card = readers.connect(name)
            try:
                identity = read_identity(card, self.config.identity_order)
                served = serve_card(relay, card, identity)
            finally:
                card.disconnect()
            for summary in (served.settled, served.visit):
                if summary is not None:
                    self.screen.show_summary(summary)
            if served.card_error is not None:
                self._tell(served.card_error)
        except TerminalError as error:
            if error.code not in CARD_FAULTS:
                raise
            self._tell(error)
        self.served += 1
        self.screen.say("remove", "Take the card out.", reader=name)
        while not self.stop.is_set() and readers.find_card(name) is not None:
            self.stop.wait(0.25)

    def _tell(self, error: TerminalError) -> None:
        told = TerminalError(
            error.code, f"[{self.reader_name}] {error.problem}", error.remedy, server_code=error.server_code
        )
        show_error(told, "The other readers go on; this one is tried again.", as_json=self.screen.as_json)


def run_fleet(config: TerminalConfig, reader_names: Sequence[str], *, as_json: bool) -> None:
    """Serve several readers until a signal. Raises `config.invalid` for certificates that cannot be used."""
    open_http(config).close()  # told once, before any thread
    stop = threading.Event()
    loops = [build_loop(config, name, stop, as_json=as_json) for name in reader_names]
    threads = [threading.Thread(target=loop.run, name=loop.reader_name, daemon=True) for loop in loops]
    for thread in threads:
        thread.start()
    Screen(as_json=as_json).say(
        "waiting", f"{len(threads)} readers wait for cards (Ctrl-C ends).", readers=len(threads)
    )
    try:
        while any(thread.is_alive() for thread in threads):
            stop.wait(LOOK_SECONDS)
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)


def build_loop(config: TerminalConfig, reader_name: str, stop: threading.Event, *, as_json: bool) -> ReaderLoop:
    """A reader's loop over PC/SC and HTTP."""
    screen = Screen(as_json=as_json, reader=reader_name)

    def open_server() -> ServerClient:
        return ServerClient(open_http(config), config.timeouts.reconnect, screen.on_retry)

    own = replace(config, reader_name=reader_name)
    return ReaderLoop(own, reader_name, screen, stop, lambda: Readers(config.timeouts.reader_call), open_server)


def find_journal(directory: Path, reader_name: str) -> Path:
    """The folder of a reader's journal: its name in letters that every file system takes, and a digest of it."""
    plain = "".join(letter if letter.isalnum() else "-" for letter in reader_name)[:40]
    return directory / f"{plain}-{hashlib.sha256(reader_name.encode()).hexdigest()[:8]}"
