"""`kms campaigns`: many key updates with one reason: make, follow, pause, stop and report them."""

from datetime import UTC, datetime
from pathlib import Path

import click

from kms.card.keys import KeyType
from kms.cli.actions import perform
from kms.cli.context import get_actor, get_platform, json_option
from kms.cli.output import print_record, print_rows
from kms.cli.params import FILLED, IDENTITY, MOMENT, HexType
from kms.domain.campaigns import MAX_IDENTITIES, CampaignFilter, CampaignState
from kms.domain.cards import DomainKind
from kms.domain.permissions import Action
from kms.domain.updates import UpdateReason, UpdateState
from kms.errors import Code, Fault, KmsError
from kms.service.action_definitions.campaigns import build_campaign_record
from kms.service.campaigns import CampaignReport, NewCampaign

REASONS = (UpdateReason.FORCED, UpdateReason.MASTER_ROTATION, UpdateReason.KEY_TYPE)
COLUMNS = ("name", "reason", "state", "added", "created_at", "deadline", "state_reason")
AID_PREFIX = HexType(1, 16)


@click.group("campaigns")
def campaigns_group() -> None:
    """Make, follow and stop campaigns: many key updates with one reason."""


@campaigns_group.command("create")
@click.argument("name")
@click.option("--reason", type=click.Choice([item.value for item in REASONS]), required=True)
@click.option("--master", help="The master whose key sets are replaced; for master-rotation needed.")
@click.option("--generation", type=click.IntRange(1), help="The master's generation that is to be replaced.")
@click.option(
    "--key-type", type=click.Choice([item.value for item in KeyType]), help="Type of the new keys (key-type)."
)
@click.option("--kind", type=click.Choice([item.value for item in DomainKind]), help="Only ISDs, or only SSDs.")
@click.option("--aid", "aid_prefix", type=AID_PREFIX, help="Only AIDs that begin so (hex).")
@click.option("--profile", help="Only cards of this profile.")
@click.option("--batch", help="Only cards of this batch.")
@click.option("--from", "first", type=IDENTITY, help="Only card identities from this one on (hex).")
@click.option("--to", "last", type=IDENTITY, help="Only card identities up to this one (hex).")
@click.option(
    "--cards",
    "cards_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"Only the cards in this file, an identity (hex) a line, at most {MAX_IDENTITIES}.",
)
@click.option("--present-type", type=click.Choice([item.value for item in KeyType]), help="Only sets of this type.")
@click.option("--expired-by", type=MOMENT, help="Only sets whose end is not later (UTC).")
@click.option("--deadline", type=MOMENT, help="From when on it is overdue (UTC).")
@click.option("--per-day", type=click.IntRange(1), help="Release so many updates a day, not all at once.")
@click.option("--max-failures", type=click.IntRange(1), help="Stop at so many failures.")
@click.option(
    "--max-percent",
    type=click.IntRange(1, 100),
    default=20,
    show_default=True,
    help="Stop at this share of failures...",
)
@click.option(
    "--percent-minimum", type=click.IntRange(1), default=20, show_default=True, help="...once so many are finished."
)
@click.option("--dry-run", is_flag=True, help="Count alone; nothing is made.")
@json_option
@click.pass_context
def create_campaign(
    ctx: click.Context,
    *,
    name: str,
    reason: str,
    master: str | None,
    generation: int | None,
    key_type: str | None,
    kind: str | None,
    aid_prefix: bytes | None,
    profile: str | None,
    batch: str | None,
    first: bytes | None,
    last: bytes | None,
    cards_file: Path | None,
    present_type: str | None,
    expired_by: datetime | None,
    deadline: datetime | None,
    per_day: int | None,
    max_failures: int | None,
    max_percent: int,
    percent_minimum: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Ask for new keys in every security domain that fits; count first with --dry-run."""
    chosen = CampaignFilter(
        kind=DomainKind(kind) if kind else None,
        profile=profile,
        batch=batch,
        first_identity=first,
        last_identity=last,
        identities=read_identities(cards_file) if cards_file is not None else (),
        aid_prefix=aid_prefix,
        key_type=KeyType(present_type) if present_type else None,
        expired_by=_to_utc(expired_by),
    )
    asked = NewCampaign(
        name=name,
        reason=UpdateReason(reason),
        chosen=chosen,
        master=master,
        generation=generation,
        key_type=KeyType(key_type) if key_type else None,
        deadline=_to_utc(deadline),
        per_day=per_day,
        max_failures=max_failures,
        max_percent=max_percent,
        percent_minimum=percent_minimum,
    )
    if dry_run:
        found = get_platform(ctx).campaigns.count(asked, actor=get_actor())
        record = {
            "security_domains": found.matched,
            "updates_to_be_added": found.added,
            "with_an_open_update": found.matched - found.added,
        }
        print_record(record, as_json=as_json, title="Nothing was made; the campaign would be about")
        return
    # By fields: a list of cards is left out where a filter is shown.
    given = {"asked": vars(asked) | {"chosen": vars(chosen)}}
    campaign = perform(ctx, Action.CAMPAIGNS_CREATE, given, label="Adding updates")
    print_record(campaign, as_json=as_json, title="Campaign")


@campaigns_group.command("list")
@click.option(
    "--state",
    "states",
    type=click.Choice([item.value for item in CampaignState]),
    multiple=True,
    help="Only these; once for each.",
)
@json_option
@click.pass_context
def list_campaigns(ctx: click.Context, states: tuple[str, ...], as_json: bool) -> None:
    """List campaigns, the oldest first."""
    wanted = tuple(CampaignState(item) for item in states) or tuple(CampaignState)
    rows = [build_campaign_record(item) for item in get_platform(ctx).campaigns.list(wanted)]
    print_rows(rows, COLUMNS, as_json=as_json, title="Campaigns")


@campaigns_group.command("show")
@click.argument("name")
@json_option
@click.pass_context
def show_campaign(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show how far the campaign NAME is."""
    report = get_platform(ctx).campaigns.report(name)
    print_record(_build_report(report), as_json=as_json, title="Campaign")
    if not as_json:
        _draw(report)


@campaigns_group.command("report")
@click.argument("name")
@json_option
@click.pass_context
def report_campaign(ctx: click.Context, name: str, as_json: bool) -> None:
    """Report what became of the campaign NAME: its filter, its updates, and what remains under its master."""
    report = get_platform(ctx).campaigns.report(name)
    chosen = {key: value for key, value in vars(report.campaign.chosen).items() if value not in (None, ())}
    if report.campaign.chosen.identities:
        chosen["identities"] = len(report.campaign.chosen.identities)
    record = _build_report(report)
    if as_json:
        print_record(record | {"filter": chosen}, as_json=True)
        return
    print_record(record, as_json=False, title=f"Report of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    print_record(chosen, as_json=False, title="It is about security domains with")


@campaigns_group.command("pause")
@click.argument("name")
@click.option("--because", type=FILLED, help="Why, for the audit log.")
@json_option
@click.pass_context
def pause_campaign(ctx: click.Context, name: str, because: str | None, as_json: bool) -> None:
    """Serve no card of the campaign NAME until it is resumed; what a visit began may end."""
    campaign = perform(ctx, Action.CAMPAIGNS_PAUSE, {"name": name, "because": because or ""})
    print_record(campaign, as_json=as_json, title="Campaign")


@campaigns_group.command("resume")
@click.argument("name")
@json_option
@click.pass_context
def resume_campaign(ctx: click.Context, name: str, as_json: bool) -> None:
    """Go on with the campaign NAME: paused, stopped by its breaker, or cut off while it was made."""
    campaign = perform(ctx, Action.CAMPAIGNS_RESUME, {"name": name}, label="Adding updates")
    print_record(campaign, as_json=as_json, title="Campaign")


@campaigns_group.command("cancel")
@click.argument("name")
@click.option("--because", type=FILLED, required=True, help="Why, for the audit log.")
@json_option
@click.pass_context
def cancel_campaign(ctx: click.Context, name: str, because: str, as_json: bool) -> None:
    """Cancel what is left of the campaign NAME; what a visit began may end."""
    given = {"name": name, "because": because}
    campaign = perform(ctx, Action.CAMPAIGNS_CANCEL, given, label="Cancelling updates")
    print_record(campaign, as_json=as_json, title="Campaign")


def read_identities(path: Path) -> tuple[bytes, ...]:
    """Read a file of card identities, one a line in hex; empty lines and what follows # are skipped.

    Raises `input.invalid` with every line that is none.
    """
    found, faults = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        text = line.split("#", 1)[0].strip()
        if not text:
            continue
        try:
            identity = bytes.fromhex(text)
        except ValueError:
            identity = b""
        if not 1 <= len(identity) <= 32:
            faults.append(Fault(f"line {number}", "is no card identity (1 to 32 bytes in hex)"))
        found.append(identity)
    if faults:
        raise KmsError(Code.INPUT_INVALID, f"{path} is no list of cards", faults=tuple(faults))
    if not found:
        raise KmsError(Code.INPUT_INVALID, f"{path} names no card")
    return tuple(dict.fromkeys(found))


def _to_utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None else None


def _build_report(report: CampaignReport) -> dict[str, object]:
    counts, campaign = report.counts, report.campaign
    record = build_campaign_record(campaign) | {
        "already_owed": campaign.matched - campaign.added,
        "updates": {state.value: counts.by_state.get(state, 0) for state in UpdateState},
        "open": counts.open,
        "done_percent": round(100 * counts.done / counts.total, 1) if counts.total else None,
        "oldest_open": counts.oldest_open,
        "last_activity": counts.last_activity,
        "projected_end": report.projected_end,
        "overdue": report.overdue,
    }
    if report.master is not None and report.use is not None:
        record["master"] = f"{report.master.name} generation {report.master.generation} ({report.master.state})"
        record["key_sets_left_under_it"] = report.use.live
        record["of_these_with_an_open_update"] = report.use.open_updates
        record["last_end_under_it"] = report.use.last_end
    return record


def _draw(report: CampaignReport) -> None:
    counts = report.counts
    width = 40
    filled = width * counts.done // counts.total if counts.total else 0
    click.echo(f"[{'#' * filled}{'.' * (width - filled)}] {counts.done} of {counts.total} done")
