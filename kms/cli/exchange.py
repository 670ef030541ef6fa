"""`kms keys exchange`: a provider and an issuer come to hold one KEK, by two files that people carry.

Rules: a file that is there is never overwritten, and it is opened before any key is made, so that an answer is not lost
for want of a place to write it. A fingerprint is typed by the person who compared it; it is never read from the file.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from kms.cli.actions import Result, perform
from kms.cli.context import json_option
from kms.cli.output import print_record
from kms.cli.params import FINGERPRINT
from kms.domain.key_exchange import MAX_TEXT
from kms.domain.permissions import Action
from kms.errors import Code, KmsError

peer_option = click.option("--peer", required=True, help="The peer's platform name.")
out_option = click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write; must not exist."
)
in_option = click.option(
    "--in",
    "source",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The peer's file.",
)
fingerprint_option = click.option(
    "--fingerprint",
    type=FINGERPRINT,
    required=True,
    help="The file's fingerprint, 32 bytes hex, as the peer read it out from its own screen.",
)
new_peer_key_option = click.option(
    "--new-peer-key", is_flag=True, help="Take another signing key of the peer than the one pinned before."
)


@click.group("exchange")
def exchange_group() -> None:
    """Exchange keys with a peer: offer (provider), answer (issuer), accept (provider)."""


@exchange_group.command("offer")
@peer_option
@out_option
@json_option
@click.pass_context
def make_offer(ctx: click.Context, peer: str, out: Path, as_json: bool) -> None:
    """Write this provider's public keys for the issuer PEER. Harmless to repeat."""
    with open_new(out) as write:
        made = perform(ctx, Action.EXCHANGE_OFFER, {"peer": peer})
        write(made["text"])
    print_record(build_file_record(out, made), as_json=as_json, title="Offer")


@exchange_group.command("answer")
@peer_option
@in_option
@out_option
@fingerprint_option
@click.option("--new-generation", is_flag=True, help="Make the next KEK for a peer that has one; the old stays usable.")
@new_peer_key_option
@json_option
@click.pass_context
def make_answer(
    ctx: click.Context,
    *,
    peer: str,
    source: Path,
    out: Path,
    fingerprint: bytes,
    new_generation: bool,
    new_peer_key: bool,
    as_json: bool,
) -> None:
    """Take the offer of the provider PEER, make the KEK, and write it wrapped to the provider's HSM."""
    text = read_text(source)
    with open_new(out) as write:
        given = {
            "peer": peer,
            "offer": text,
            "fingerprint": fingerprint,
            "new_generation": new_generation,
            "new_peer_key": new_peer_key,
        }
        made = perform(ctx, Action.EXCHANGE_ANSWER, given)
        write(made["text"])
    print_record(build_file_record(out, made), as_json=as_json, title="Answer")


@exchange_group.command("accept")
@peer_option
@in_option
@fingerprint_option
@new_peer_key_option
@json_option
@click.pass_context
def accept_answer(
    ctx: click.Context, *, peer: str, source: Path, fingerprint: bytes, new_peer_key: bool, as_json: bool
) -> None:
    """Take the answer of the issuer PEER: its KEK, into the HSM, and its signing key. Harmless to repeat."""
    text = read_text(source)
    given = {"peer": peer, "answer": text, "fingerprint": fingerprint, "new_peer_key": new_peer_key}
    kek = perform(ctx, Action.EXCHANGE_ACCEPT, given)
    print_record(kek, as_json=as_json, title="KEK: compare its check value by telephone")


def build_file_record(path: Path, made: Result) -> dict[str, object]:
    """What to tell of a file, and of the KEK that was made for it."""
    return {"file": str(path), **{name: value for name, value in made.items() if name != "text"}}


def read_text(path: Path) -> str:
    """The text of a peer's file. Raises `exchange.refused` for one that is no text, or too long for one of ours."""
    try:
        with path.open(encoding="ascii") as file:
            return file.read(MAX_TEXT + 1)
    except UnicodeDecodeError:
        raise KmsError(Code.EXCHANGE_REFUSED, f"{path} is no key exchange file") from None


@contextmanager
def open_new(path: Path) -> Iterator[Callable[[str], None]]:
    """Make a file that must not be there; gives what writes it to the disk. It goes again when the block fails."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        raise KmsError(Code.CONFLICT, f"{path} is there already and is not overwritten; name another file") from None
    except OSError as error:
        raise KmsError(Code.INPUT_INVALID, f"{path} cannot be written: {os.strerror(error.errno or 0)}") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:

        def write(text: str) -> None:
            file.write(text)
            file.flush()
            os.fsync(descriptor)

        try:
            yield write
        except BaseException:
            path.unlink(missing_ok=True)
            raise
