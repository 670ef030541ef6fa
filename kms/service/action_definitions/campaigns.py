"""Actions about campaigns."""

import hashlib
from typing import Any

from kms.domain.campaigns import Campaign, CampaignFilter
from kms.domain.permissions import Action
from kms.service.action_definitions.forms import Name, Why, say_bytes, say_time
from kms.service.actions import ActionDefinition, Parameters
from kms.service.campaigns import CampaignService, NewCampaign, Progress
from kms.service.plain_values import build_record

HIDDEN = ("chosen", "cursor", "failed_before", "finished_before")


class CreateCampaign(Parameters):
    """A campaign as it is to be made."""

    asked: NewCampaign


class PauseCampaign(Parameters):
    """A campaign by its name, and why if somebody says so."""

    name: Name
    because: str = ""


class ResumeCampaign(Parameters):
    """A campaign by its name."""

    name: Name


class CancelCampaign(Parameters):
    """A campaign by its name, and why."""

    name: Name
    because: Why


def define_campaigns(campaigns: CampaignService, progress: Progress) -> tuple[ActionDefinition[Any], ...]:
    """The definitions of campaigns.*."""
    return (
        ActionDefinition(
            Action.CAMPAIGNS_CREATE,
            CreateCampaign,
            lambda given: _describe(given.asked),
            lambda given, by: build_campaign_record(campaigns.create(given.asked, actor=by.actor, progress=progress)),
        ),
        ActionDefinition(
            Action.CAMPAIGNS_PAUSE,
            PauseCampaign,
            lambda given: f"Pause campaign {given.name}. {given.because}".rstrip(),
            lambda given, by: build_campaign_record(campaigns.pause(given.name, actor=by.actor, why=given.because)),
        ),
        ActionDefinition(
            Action.CAMPAIGNS_RESUME,
            ResumeCampaign,
            lambda given: f"Go on with campaign {given.name}.",
            lambda given, by: build_campaign_record(campaigns.resume(given.name, actor=by.actor, progress=progress)),
        ),
        ActionDefinition(
            Action.CAMPAIGNS_CANCEL,
            CancelCampaign,
            lambda given: f"Cancel what is left of campaign {given.name}: {given.because}",
            lambda given, by: build_campaign_record(
                campaigns.cancel(given.name, actor=by.actor, why=given.because, progress=progress)
            ),
        ),
    )


def build_campaign_record(campaign: Campaign) -> dict[str, object]:
    """A campaign as people read it, without its bookkeeping."""
    return {name: value for name, value in build_record(campaign).items() if name not in HIDDEN}


def _describe(asked: NewCampaign) -> str:
    lines = [f"Replace keys by the campaign {asked.name}, reason {asked.reason}."]
    if asked.master is not None:
        lines.append(f"Under master {asked.master}, generation {asked.generation or '(the newest but one)'}.")
    if asked.key_type is not None:
        lines.append(f"New keys of type {asked.key_type}.")
    lines.append(f"In security domains with: {describe_filter(asked.chosen)}.")
    if asked.deadline is not None:
        lines.append(f"Overdue from {say_time(asked.deadline)}.")
    lines.append(f"Released: {f'{asked.per_day} a day' if asked.per_day else 'all at once'}.")
    stops = [f"{asked.max_failures} failures"] if asked.max_failures else []
    if asked.max_percent:
        stops.append(f"{asked.max_percent} % failures once {asked.percent_minimum} are finished")
    lines.append(f"Stopped at {' or '.join(stops)}." if stops else "Stopped by no number of failures.")
    return "\n".join(lines)


def describe_filter(chosen: CampaignFilter) -> str:
    """A campaign's filter in words."""
    said = []
    for name, value in vars(chosen).items():
        if value in (None, ()) or name == "identities":
            continue
        shown = say_bytes(value) if isinstance(value, bytes) else str(value)
        said.append(f"{name.replace('_', ' ')} {shown}")
    if chosen.identities:
        listed = b"".join(len(item).to_bytes(1, "big") + item for item in chosen.identities)
        digest = hashlib.sha256(listed).hexdigest()
        first, last = say_bytes(chosen.identities[0]), say_bytes(chosen.identities[-1])
        said.append(f"one of {len(chosen.identities)} listed cards ({first} to {last}, SHA-256 of the list {digest})")
    return ", ".join(said) or "any keys of this platform"
