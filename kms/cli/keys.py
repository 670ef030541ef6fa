"""`kms keys`: make and show master keys.

Rules: key components come from files of their own or from a hidden prompt, never from the command line, which other
users can read; they are overwritten after use. Their hex text passes through Python strings, which nobody can
overwrite: components typed here belong to a machine that is trusted for it.
"""

import stat
from datetime import timedelta
from pathlib import Path

import click

from kms.card.keys import KcvMethod, KeyType
from kms.cli.actions import build_development_login, find_login_here, perform
from kms.cli.context import get_config, get_platform, json_option, page_options
from kms.cli.exchange import exchange_group
from kms.cli.output import build_record, print_record, print_rows
from kms.cli.params import FILLED, HexType
from kms.config import PlatformMode
from kms.domain.compromises import FOR_OFFICERS, Remedy
from kms.domain.keys import MasterKind
from kms.domain.permissions import Action
from kms.errors import Code, KmsError

COLUMNS = ("name", "kind", "generation", "key_type", "kcv", "kcv_method", "state", "created_at", "expires_at")
AFFECTED = ("card", "aid", "kind", "remedy")
NOT_GENERATED = {MasterKind.VENDOR, MasterKind.PEER_KEK, MasterKind.BACKUP, MasterKind.LOGIN}  # by this command
GENERATED_KINDS = [kind.value for kind in MasterKind if kind not in NOT_GENERATED]
KCV = HexType(3, 5)
MAX_COMPONENT_FILE = 1024  # characters: 32 bytes of hex with separators and a line end

new_generation_option = click.option(
    "--new-generation", is_flag=True, help="Make the next generation of a name that exists; the old ones stay usable."
)
valid_days_option = click.option(
    "--valid-days",
    type=click.IntRange(1, 3660),
    help="How long it issues new key sets; default: keys.master_valid_days, a vendor's key without end.",
)


@click.group("keys")
def keys_group() -> None:
    """Make and show master keys, and exchange keys with peers."""


keys_group.add_command(exchange_group)


@keys_group.command("generate")
@click.option("--kind", type=click.Choice(GENERATED_KINDS), required=True, help="What the master derives.")
@click.option("--name", required=True, help="Its name: lower-case letters, digits, hyphens.")
@new_generation_option
@valid_days_option
@json_option
@click.pass_context
def generate_key(
    ctx: click.Context, *, kind: str, name: str, new_generation: bool, valid_days: int | None, as_json: bool
) -> None:
    """Generate an AES-256 master key inside the HSM. A run that was cut off is finished by running it again."""
    given = {"kind": kind, "name": name, "new_generation": new_generation, "valid_days": valid_days}
    key = perform(ctx, Action.KEYS_GENERATE, given)
    print_record(key, as_json=as_json, title="Master key")


@keys_group.command("import")
@click.option("--name", required=True, help="Its name: lower-case letters, digits, hyphens.")
@click.option("--type", "type_name", type=click.Choice([item.value for item in KeyType]), required=True)
@click.option("--kcv", type=KCV, required=True, help="Check value of the whole key (hex), from its key letter.")
@click.option(
    "--kcv-method",
    type=click.Choice([method.value for method in KcvMethod]),
    help="How the check value was computed; default: by key type and length.",
)
@click.option(
    "--component-file",
    "component_files",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="A key component (hex), a file of mode 0600; once for each. Without it they are asked for.",
)
@click.option("--components", type=click.IntRange(1, 5), default=2, show_default=True, help="How many to ask for.")
@new_generation_option
@valid_days_option
@json_option
@click.pass_context
def import_key(
    ctx: click.Context,
    *,
    name: str,
    type_name: str,
    kcv: bytes,
    kcv_method: str | None,
    component_files: tuple[Path, ...],
    components: int,
    new_generation: bool,
    valid_days: int | None,
    as_json: bool,
) -> None:
    """Import a vendor's master key from its components, which are combined by XOR; in the lab alone.

    In production components are entered by their custodians, each in their own login: `kms ceremonies`.
    """
    config = get_config(ctx)
    if config.platform.mode is not PlatformMode.LAB or find_login_here(ctx) is not None:
        text = "Key components are entered in a ceremony, each by its custodian: see `kms ceremonies`."
        raise KmsError(Code.LOGIN_NEEDED, text)
    if component_files:
        parts = [_read_component(path) for path in component_files]
    else:
        parts = [_ask_component(number, components) for number in range(1, components + 1)]
    key = get_platform(ctx).keys.import_master(
        name,
        key_type=KeyType(type_name),
        components=parts,
        expected_kcv=kcv,
        kcv_method=KcvMethod(kcv_method) if kcv_method else None,
        actor=build_development_login().actor,
        new_generation=new_generation,
        valid_for=_to_period(valid_days),
    )
    print_record(build_record(key), as_json=as_json, title="Master key")


@keys_group.command("list")
@page_options
@json_option
@click.pass_context
def list_keys(ctx: click.Context, limit: int, offset: int, as_json: bool) -> None:
    """List the master keys on record, the oldest first. `kms hsm status` looks them up in the HSM."""
    rows = [build_record(key) for key in get_platform(ctx).keys.list(limit=limit, offset=offset)]
    print_rows(rows, COLUMNS, as_json=as_json, title="Master keys")


@keys_group.command("show")
@click.argument("name")
@click.option("--generation", type=click.IntRange(1), help="Which generation; default: the newest.")
@json_option
@click.pass_context
def show_key(ctx: click.Context, name: str, generation: int | None, as_json: bool) -> None:
    """Show the master key NAME, and what hangs on it: key sets on cards, planned and past, open updates."""
    service = get_platform(ctx).keys
    key = service.get(name, generation)
    use = service.find_use(key)
    record = build_record(
        key,
        key_sets_on_cards=use.live,
        key_sets_planned=use.planned,
        key_sets_past=use.past,
        open_updates=use.open_updates,
        last_key_set_ends=use.last_end,
    )
    print_record(record, as_json=as_json, title="Master key")


@keys_group.command("deactivate")
@click.argument("name")
@click.option("--generation", type=click.IntRange(1), required=True, help="Which generation.")
@click.option("--because", type=FILLED, required=True, help="Why, for the audit log.")
@json_option
@click.pass_context
def deactivate_key(ctx: click.Context, name: str, generation: int, because: str, as_json: bool) -> None:
    """End the use of a generation of the master key NAME that no key set hangs on any more; it stays in the HSM."""
    given = {"name": name, "generation": generation, "because": because}
    key = perform(ctx, Action.KEYS_DEACTIVATE, given)
    print_record(key, as_json=as_json, title="Master key")


@keys_group.command("compromise")
@click.argument("name")
@click.option("--generation", type=click.IntRange(1), required=True, help="Which generation.")
@click.option("--because", type=FILLED, required=True, help="Why, for the audit log.")
@json_option
@click.pass_context
def compromise_key(ctx: click.Context, name: str, generation: int, because: str, as_json: bool) -> None:
    """Mark a generation of the master key NAME and every key set derived from it as COMPROMISED, and replace them.

    Nothing is derived from it any more, visits under way end, and a campaign brings new keys where nobody is needed for
    it: into SSDs through their card's ISD, at a card that another platform issued by its issuer's help. The rest is
    counted, and listed by `kms keys affected`. A run that was cut off is finished by running it again.
    """
    given = {"name": name, "generation": generation, "because": because}
    report = perform(ctx, Action.KEYS_COMPROMISE, given, label="Marking key sets")
    print_record(report, as_json=as_json, title="Compromised")


@keys_group.command("affected")
@click.argument("name")
@click.option("--generation", type=click.IntRange(1), required=True, help="Which generation.")
@click.option(
    "--remedy",
    "remedies",
    type=click.Choice([item.value for item in Remedy]),
    multiple=True,
    help="Only these; once for each.",
)
@click.option("--for-officers", is_flag=True, help="Only those that get no new keys without people.")
@page_options
@json_option
@click.pass_context
def list_affected(
    ctx: click.Context,
    *,
    name: str,
    generation: int,
    remedies: tuple[str, ...],
    for_officers: bool,
    limit: int,
    offset: int,
    as_json: bool,
) -> None:
    """List the security domains below a compromised generation of NAME, with what becomes of each."""
    wanted = {Remedy(item) for item in remedies} | (set(FOR_OFFICERS) if for_officers else set())
    found = get_platform(ctx).compromise.list(name, generation, remedies=sorted(wanted), limit=limit, offset=offset)
    print_rows([build_record(item) for item in found], AFFECTED, as_json=as_json, title="Affected")


def _to_period(days: int | None) -> timedelta | None:
    return timedelta(days=days) if days is not None else None


def _read_component(path: Path) -> bytearray:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise KmsError(
            Code.INPUT_INVALID, f"{path} has mode {mode:04o}; only its owner may read a component: chmod 0600 {path}"
        )
    try:
        with path.open(encoding="ascii") as file:
            return _parse_component(file.read(MAX_COMPONENT_FILE), str(path))
    except (OSError, UnicodeDecodeError):
        raise KmsError(Code.INPUT_INVALID, f"{path} cannot be read as a line of hex") from None  # it may quote content


def _ask_component(number: int, total: int) -> bytearray:
    text = click.prompt(f"Key component {number} of {total} (hex, not shown)", hide_input=True, err=True)
    return _parse_component(text, f"component {number}")


def _parse_component(text: str, where: str) -> bytearray:
    try:
        return bytearray.fromhex(text.replace(":", ""))
    except ValueError:
        raise KmsError(Code.INPUT_INVALID, f"{where} is not hex") from None  # the cause would quote the component
