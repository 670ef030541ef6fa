"""Actions about people. Secrets are never parameters; an invitation's secret is a result that nobody stores."""

from typing import Annotated, Any

from pydantic import Field

from kms.domain.people import Role
from kms.domain.permissions import Action
from kms.service.action_definitions.forms import Name, say_time
from kms.service.actions import ActionDefinition, Parameters, Performer
from kms.service.people import PeopleService, PersonRecord
from kms.service.plain_values import build_record

Roles = Annotated[tuple[Role, ...], Field(min_length=1, max_length=len(Role))]


class AddPerson(Parameters):
    """A person with a first account."""

    name: Name
    login: Name
    roles: Roles


class AddAccount(Parameters):
    """Another account of the person of `login`."""

    login: Name
    new_login: Name


class ChangePerson(Parameters):
    """Another name or other roles of the person of `login`; None: as they are."""

    login: Name
    name: Name | None = None
    roles: Roles | None = None


class OneAccount(Parameters):
    """An account by its login."""

    login: Name


class ConfirmAccount(Parameters):
    """`code`: what the enrolled person reads out; it is of no use to anybody else."""

    login: Name
    code: Annotated[str, Field(min_length=1, max_length=64)]


def define_people(people: PeopleService) -> tuple[ActionDefinition[Any], ...]:
    """The definitions of people.*."""

    def invite(given: OneAccount, by: Performer) -> dict[str, object]:
        invited = people.invite(given.login, actor=by.actor, inviter=by.person_id)
        return {
            "name": invited.name,
            "login": invited.login,
            "secret": invited.secret,
            "expires_at": say_time(invited.expires_at),
        }

    return (
        ActionDefinition(
            Action.PEOPLE_ADD,
            AddPerson,
            lambda given: f"Add {given.name} with the account {given.login} and the roles: {_list(given.roles)}.",
            lambda given, by: build_person_record(people.add(given.name, given.login, given.roles, actor=by.actor)),
        ),
        ActionDefinition(
            Action.PEOPLE_ADD_ACCOUNT,
            AddAccount,
            lambda given: f"Give the person of the account {given.login} another account, {given.new_login}.",
            lambda given, by: build_person_record(people.add_account(given.login, given.new_login, actor=by.actor)),
        ),
        ActionDefinition(
            Action.PEOPLE_CHANGE,
            ChangePerson,
            _describe_change,
            lambda given, by: build_person_record(
                people.change(given.login, name=given.name, roles=given.roles, actor=by.actor)
            ),
        ),
        ActionDefinition(
            Action.PEOPLE_DISABLE,
            OneAccount,
            lambda given: f"Shut out the person of the account {given.login}, with all their accounts.",
            lambda given, by: build_person_record(people.disable(given.login, actor=by.actor)),
        ),
        ActionDefinition(
            Action.PEOPLE_ENABLE,
            OneAccount,
            lambda given: f"Let the person of the account {given.login} in again, with the credentials they had.",
            lambda given, by: build_person_record(people.enable(given.login, actor=by.actor)),
        ),
        ActionDefinition(
            Action.PEOPLE_RESET,
            OneAccount,
            lambda given: f"Disable all credentials of the account {given.login} and end its logins.",
            lambda given, by: build_person_record(people.reset_credentials(given.login, actor=by.actor)),
        ),
        ActionDefinition(
            Action.PEOPLE_INVITE, OneAccount, lambda given: f"Invite the person of account {given.login}.", invite
        ),
        ActionDefinition(
            Action.PEOPLE_CONFIRM,
            ConfirmAccount,
            lambda given: f"Confirm that who enrolled as {given.login} is that person.",
            lambda given, by: build_person_record(
                people.confirm(given.login, given.code, actor=by.actor, confirmer=by.person_id)
            ),
        ),
    )


def build_person_record(record: PersonRecord) -> dict[str, object]:
    """A person as people read it: their accounts, and of each credential its kind."""
    accounts = [
        build_record(item.account, credentials=[str(credential.kind) for credential in item.credentials])
        for item in record.accounts
    ]
    return build_record(record.person, accounts=accounts)


def _describe_change(given: ChangePerson) -> str:
    text = f"Change the person of the account {given.login}:"
    if given.name is not None:
        text += f" the name to {given.name};"
    if given.roles is not None:
        text += f" the roles to {_list(given.roles)};"
    return f"{text} nothing else."


def _list(roles: tuple[Role, ...]) -> str:
    return ", ".join(roles)
