"""`kms-terminal virtual-card`: put a virtual card into a virtual PC/SC reader and keep it there."""

import signal
import threading
from pathlib import Path
from types import FrameType

import click

from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.diversification import Diversification, derive_card_keys
from terminal.virtual_card.model import KEY_TYPE_AES, KEY_TYPE_DES, CardState
from terminal.virtual_card.personality import (
    DEFAULT_CIN,
    DEFAULT_CPLC,
    DEFAULT_IIN,
    DEFAULT_ISD_AID,
    DEFAULT_KDD,
    DEFAULT_KVN,
    DEFAULT_SCP02_I,
    DEFAULT_SCP03_I,
    PUBLIC_TEST_KEY,
    SUPPORTED_SCP02_I,
    SUPPORTED_SCP03_I,
    AesKeyForm,
    Personality,
    build_factory_state,
)
from terminal.virtual_card.state_file import StateFileError, find_state, save_state
from terminal.virtual_card.tear import TEARABLE_COMMANDS, Tear, parse_tear_at, parse_tear_during
from terminal.virtual_card.transmission import TransmissionProtocol
from terminal.virtual_card.vpcd import DEFAULT_HOST, DEFAULT_PORT, VpcdConnection, VpcdError

RETRY_SECONDS = 1.0
KEY_LENGTHS = {KEY_TYPE_DES: (16,), KEY_TYPE_AES: (16, 24, 32)}
KEY_TYPES = {"des": KEY_TYPE_DES, "aes": KEY_TYPE_AES}


class HexBytes(click.ParamType[bytes]):
    """A value written in hexadecimal digits, of a length in bytes between two bounds."""

    name = "hex"

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Return the bytes; a default passes as it is."""
        if isinstance(value, bytes):
            return value
        try:
            data = bytes.fromhex(str(value))
        except ValueError:
            self.fail("give hexadecimal digits, two for each byte", param, ctx)
        if not self._least <= len(data) <= self._most:
            size = str(self._least) if self._least == self._most else f"{self._least} to {self._most}"
            self.fail(f"give {size} bytes in hexadecimal digits, not {len(data)}", param, ctx)
        return data


def _parse_tear(ctx: click.Context, param: click.Parameter, value: str | None) -> Tear | None:
    if value is None:
        return None
    try:
        return parse_tear_at(value) if param.name == "tear_at" else parse_tear_during(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


def _parse_kvn(ctx: click.Context, param: click.Parameter, value: bytes) -> int:
    kvn = value[0]
    if not (1 <= kvn <= 0x7F or kvn == 0xFF):
        raise click.BadParameter("a key version number is 01 to 7F, or FF for a factory set", ctx, param)
    return kvn


def read_keys(path: Path, lengths: tuple[int, ...]) -> list[bytes]:
    """Read keys of one of the lengths from a file, one in hexadecimal digits on each line.

    Raise ClickException with exit code 2.
    """
    try:
        lines = path.read_text(encoding="ascii").split()
        keys = [bytes.fromhex(line) for line in lines]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds something else than hexadecimal digits"
        raise click.BadParameter(f"cannot read keys from {path}: {reason}") from error
    if not keys or len(keys[0]) not in lengths or any(len(key) != len(keys[0]) for key in keys):
        sizes = " or ".join(str(length) for length in lengths)
        raise click.BadParameter(f"{path} must hold keys of {sizes} bytes, one on each line")
    return keys


def _load_keys(
    keys_file: Path | None, master_file: Path | None, diversification: str | None, kdd: bytes, key_type: int
) -> tuple[bytes, bytes, bytes]:
    """Return the factory keys ENC, MAC, DEK from whichever source was named, else the public test key three times."""
    if keys_file and master_file:
        raise click.UsageError("give --keys-file or --master-file, not both")
    if diversification and not master_file:
        raise click.UsageError("--diversification needs the master key: give --master-file")
    lengths = KEY_LENGTHS[key_type]
    scheme = Diversification(diversification or Diversification.NONE)
    if not scheme.makes(key_type):
        raise click.UsageError(f"--diversification {scheme} does not make keys of this type")
    if master_file:
        masters = read_keys(master_file, lengths)
        if len(masters) != 1:
            raise click.BadParameter(f"{master_file} must hold one key")
        return derive_card_keys(masters[0], kdd, scheme)
    if not keys_file:
        return PUBLIC_TEST_KEY, PUBLIC_TEST_KEY, PUBLIC_TEST_KEY
    keys = read_keys(keys_file, lengths)
    if len(keys) == 1:
        keys *= 3
    if len(keys) != 3:
        raise click.BadParameter(f"{keys_file} must hold one key, or three in the order ENC, MAC, DEK")
    return keys[0], keys[1], keys[2]


def _choose_i(given: str | None, default: int | None) -> int | None:
    return default if given is None else int(given, 16)


@click.command("virtual-card")
@click.option("--isd-aid", type=HexBytes(5, 16), default=DEFAULT_ISD_AID.hex().upper(), show_default=True)
@click.option(
    "--keys-file",
    type=click.Path(path_type=Path),
    help="ISD keys: one line for all three, or a line each for ENC, MAC, DEK. Without: the public test key 40..4F.",
)
@click.option("--master-file", type=click.Path(path_type=Path), help="Master key that the ISD keys are derived from.")
@click.option("--diversification", type=click.Choice([str(item) for item in Diversification]), help="Default: none.")
@click.option(
    "--kvn",
    type=HexBytes(1, 1),
    default=f"{DEFAULT_KVN:02X}",
    callback=_parse_kvn,
    show_default=True,
    help="Version of the ISD keys; FF for a factory set.",
)
@click.option(
    "--key-type",
    type=click.Choice(list(KEY_TYPES)),
    default="des",
    show_default=True,
    help="Of the ISD keys: DES opens SCP02, AES opens SCP03.",
)
@click.option(
    "--scp02-i",
    type=click.Choice([f"{item:02X}" for item in SUPPORTED_SCP02_I]),
    help=f"SCP02 with this parameter i. Default: {DEFAULT_SCP02_I:02X} with DES keys, else no SCP02.",
)
@click.option(
    "--scp03-i",
    type=click.Choice([f"{item:02X}" for item in SUPPORTED_SCP03_I]),
    help=f"SCP03 with this parameter i; odd is S16. Default: {DEFAULT_SCP03_I:02X} with AES keys, else no SCP03.",
)
@click.option(
    "--kdd",
    type=HexBytes(10, 10),
    default=DEFAULT_KDD.hex().upper(),
    show_default=True,
    help="Key diversification data.",
)
@click.option("--iin", type=HexBytes(1, 16), default=DEFAULT_IIN.hex().upper(), show_default=True, help="Tag 42.")
@click.option("--cin", type=HexBytes(1, 16), default=DEFAULT_CIN.hex().upper(), show_default=True, help="Tag 45.")
@click.option("--cplc", type=HexBytes(42, 42), default=DEFAULT_CPLC.hex().upper(), help="Tag 9F7F, 42 bytes.")
@click.option("--atr", type=HexBytes(2, 33), help="Default: 3B00 for T0, 3B800181 for T1.")
@click.option(
    "--protocol",
    type=click.Choice([str(item) for item in TransmissionProtocol]),
    default=str(TransmissionProtocol.T1),
    show_default=True,
)
@click.option(
    "--state",
    "state_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The card's memory. If the file exists, it wins over the options that describe a new card.",
)
@click.option("--host", default=DEFAULT_HOST, show_default=True, help="Where the virtual reader listens.")
@click.option("--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True)
@click.option(
    "--tear-at",
    callback=_parse_tear,
    metavar="N[:before|after]",
    help="Lose power at the Nth APDU, before the card acts or (default) after it did; the answer is lost.",
)
@click.option(
    "--tear-during",
    callback=_parse_tear,
    metavar="COMMAND[:before|after]",
    help=f"The same at the first of these: {', '.join(TEARABLE_COMMANDS)}.",
)
@click.option("--keep-factory-set", is_flag=True, help="A key set FF stays when another set is added.")
@click.option("--max-key-sets", type=click.IntRange(1, 100), default=8, show_default=True)
@click.option(
    "--max-failed-authentications",
    type=click.IntRange(0, 255),
    default=0,
    show_default=True,
    help="Failures in a row that block a domain's keys; 0: never.",
)
@click.option(
    "--aes-key-form",
    type=click.Choice([str(item) for item in AesKeyForm]),
    default=str(AesKeyForm.EITHER),
    show_default=True,
    help="Coding of AES keys that PUT KEY takes: behind their length (long), bare (short).",
)
@click.option(
    "--replaces-other-lengths", is_flag=True, help="PUT KEY replaces AES keys by AES keys of another length, too."
)
@click.option("--once", is_flag=True, help="End when the card leaves the reader; without, it is put in again.")
def virtual_card(
    *,
    isd_aid: bytes,
    keys_file: Path | None,
    master_file: Path | None,
    diversification: str | None,
    kvn: int,
    key_type: str,
    scp02_i: str | None,
    scp03_i: str | None,
    kdd: bytes,
    iin: bytes,
    cin: bytes,
    cplc: bytes,
    atr: bytes | None,
    protocol: str,
    state_path: Path | None,
    host: str,
    port: int,
    tear_at: Tear | None,
    tear_during: Tear | None,
    keep_factory_set: bool,
    max_key_sets: int,
    max_failed_authentications: int,
    aes_key_form: str,
    replaces_other_lengths: bool,
    once: bool,
) -> None:
    """Put a GlobalPlatform card made of software into a virtual PC/SC reader, until Ctrl-C.

    For development and tests only: the reader's port is open to the network, and the state file holds keys in clear.
    """
    if tear_at and tear_during:
        raise click.UsageError("give --tear-at or --tear-during, not both")
    keys = _load_keys(keys_file, master_file, diversification, kdd, KEY_TYPES[key_type])
    try:
        state = build_factory_state(
            keys,
            isd_aid=isd_aid,
            kvn=kvn,
            key_type=KEY_TYPES[key_type],
            scp02_i=_choose_i(scp02_i, DEFAULT_SCP02_I if key_type == "des" else None),
            scp03_i=_choose_i(scp03_i, DEFAULT_SCP03_I if key_type == "aes" else None),
            kdd=kdd,
            iin=iin,
            cin=cin,
            cplc=cplc,
        )
        if state_path:
            kept = find_state(state_path)
            if kept is not None:
                click.echo(f"card read from {state_path}; options that describe a new card do not apply", err=True)
            state = kept or state
            save_state(state_path, state)
    except StateFileError as error:
        raise click.ClickException(str(error)) from error
    card = VirtualCard(
        state,
        Personality(
            keep_factory_set=keep_factory_set,
            max_key_sets=max_key_sets,
            max_failed_authentications=max_failed_authentications,
            aes_key_form=AesKeyForm(aes_key_form),
            replaces_other_lengths=replaces_other_lengths,
        ),
        protocol=TransmissionProtocol(protocol),
        on_commit=(lambda changed: save_state(state_path, changed)) if state_path else None,
    )
    connection = VpcdConnection(card, port, host=host, atr=atr, tear=tear_at or tear_during)
    try:
        _keep_in_reader(connection, describe(state, host, port), once=once)
    except (VpcdError, StateFileError) as error:
        raise click.ClickException(str(error)) from error


def describe(state: CardState, host: str, port: int) -> str:
    """Return the line that tells that the card is in the reader: what it is, and no key."""
    versions = " ".join(f"{key_set.kvn:02X}" for key_set in state.isd.key_sets) or "none"
    spoken = (("SCP02", state.scp02_i), ("SCP03", state.scp03_i))
    protocols = ", ".join(f"{name} i={scp_i:02X}" for name, scp_i in spoken if scp_i is not None)
    return (
        f"virtual card in reader {host}:{port}: ISD {state.isd.aid.hex().upper()}, {protocols}, key versions {versions}"
    )


def _keep_in_reader(connection: VpcdConnection, description: str, *, once: bool) -> None:
    """Serve until a signal, or with `once` until the card left; raise VpcdError when the first attach fails."""
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        connection.attach()
        click.echo(description)
        while not stop.is_set():
            if not connection.wait_gone(0.2):
                continue
            if connection.failure is not None:
                raise connection.failure
            click.echo("power lost" if connection.was_torn else "the reader went away")
            if once:
                break
            _attach_again(connection, stop)
    finally:
        connection.pull_out()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _attach_again(connection: VpcdConnection, stop: threading.Event) -> None:
    """Put the card back in as soon as there is a reader."""
    while not stop.is_set():
        try:
            connection.attach()
        except VpcdError:
            stop.wait(RETRY_SECONDS)
        else:
            click.echo("virtual card in the reader again")
            return
