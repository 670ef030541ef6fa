"""Actions about master keys. Key components are never parameters: they are entered in ceremonies alone."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from kms.domain.keys import MasterKind
from kms.domain.permissions import Action
from kms.service.action_definitions.forms import Generation, Name, Why
from kms.service.actions import ActionDefinition, Parameters
from kms.service.campaigns import Progress
from kms.service.compromise import CompromiseReport, CompromiseService
from kms.service.keys import KeyService
from kms.service.plain_values import build_record


class GenerateKey(Parameters):
    """`valid_days`: how long it issues new key sets; None: as is configured."""

    kind: MasterKind
    name: Name
    new_generation: bool = False
    valid_days: Annotated[int, Field(ge=1, le=3660)] | None = None


class OneGeneration(Parameters):
    """A generation of a master key, and why."""

    name: Name
    generation: Generation
    because: Why


def define_keys(
    keys: KeyService, compromise: CompromiseService, progress: Progress
) -> tuple[ActionDefinition[Any], ...]:
    """The definitions of keys.*."""
    return (
        ActionDefinition(
            Action.KEYS_GENERATE,
            GenerateKey,
            _describe_generate,
            lambda given, by: build_record(
                keys.generate_master(
                    given.kind,
                    given.name,
                    actor=by.actor,
                    new_generation=given.new_generation,
                    valid_for=timedelta(days=given.valid_days) if given.valid_days is not None else None,
                )
            ),
        ),
        ActionDefinition(
            Action.KEYS_DEACTIVATE,
            OneGeneration,
            lambda given: f"End the use of master key {given.name}, generation {given.generation}: {given.because}",
            lambda given, by: build_record(
                keys.deactivate(given.name, given.generation, actor=by.actor, why=given.because)
            ),
        ),
        ActionDefinition(
            Action.KEYS_COMPROMISE,
            OneGeneration,
            lambda given: (
                f"Mark master key {given.name}, generation {given.generation}, and every key set derived from it "
                f"COMPROMISED, and replace them by a campaign: {given.because}"
            ),
            lambda given, by: _build_report(
                compromise.compromise(
                    given.name, given.generation, actor=by.actor, why=given.because, progress=progress
                )
            ),
        ),
    )


def _describe_generate(given: GenerateKey) -> str:
    which = "the next generation of the" if given.new_generation else "the"
    until = f"{given.valid_days} days" if given.valid_days is not None else "as long as is configured"
    return f"Generate {which} {given.kind} master key {given.name} in the HSM; it issues new key sets {until}."


def _build_report(report: CompromiseReport) -> dict[str, object]:
    return build_record(
        report.master,
        security_domains_marked=report.marked.domains,
        key_sets_marked=report.marked.key_sets,
        visits_fenced=report.marked.visits,
        updates_cancelled=report.marked.updates,
        issuers_to_be_asked=report.marked.transfers,
        campaign=report.campaign.name if report.campaign is not None else None,
        security_domains={remedy.value: count for remedy, count in report.affected.by_remedy.items()},
        for_officers=report.affected.for_officers,
    )
