"""What on record is nothing for production: people, policies, master keys.

Rules: nothing is changed. What officers mend in the console does not keep the console from starting, or nobody could.
"""

from collections.abc import Iterator

from kms.domain.ceremonies import CeremonyState
from kms.domain.ceremony_scripts import StepKind
from kms.domain.fitness import Finding, Severity
from kms.domain.keys import KeyState, MasterKey, MasterKind
from kms.domain.known_keys import check_not_test_key
from kms.domain.people import (
    MIN_OFFICERS,
    SECOND_FACTORS,
    Account,
    AccountState,
    CredentialKind,
    Person,
    PersonState,
    Role,
)
from kms.errors import KmsError
from kms.service.ports import Transaction

ALL = 10_000

# A KEK is exchanged anew and one-time codes are enrolled anew; the backup key itself is kept as components.
_BACKED_UP = frozenset({MasterKind.VENDOR, MasterKind.ISD, MasterKind.SSD_INITIAL, MasterKind.SSD})
_GONE = frozenset({KeyState.PRE_ACTIVATION, KeyState.DESTROYED})


def find_record_findings(reading: Transaction) -> Iterator[Finding]:
    """Everything on record that is nothing for production."""
    yield from _find_people_findings(reading)
    if not reading.policies.load_book().versions:
        yield Finding(
            "policies",
            Severity.REFUSED,
            "no policy is in force",
            "Nothing says when keys end, so none would be replaced",
            "`kms policies apply config/policies`",
            mended_in_console=True,
        )
    for key in reading.master_keys.list(limit=ALL):
        if key.state not in _GONE:
            yield from _find_master_findings(reading, key)


def _find_people_findings(reading: Transaction) -> Iterator[Finding]:
    people = {item.id: item for item in reading.people.list(limit=ALL) if item.state is PersonState.ACTIVE}
    officers = {item.id for item in people.values() if Role.SECURITY_OFFICER in item.roles}
    accounts = [
        item
        for item in reading.accounts.list(limit=ALL)
        if item.state is AccountState.ACTIVE and item.person_id in people
    ]
    if len(officers) < MIN_OFFICERS:
        yield Finding(
            "people",
            Severity.REFUSED,
            f"there are {len(officers)} security officers",
            "Nothing about keys can be approved by another than who asked",
            "`kms officers init` at the server",
        )
    elif len(officers & {item.person_id for item in accounts}) < MIN_OFFICERS:
        yield Finding(
            "people",
            Severity.WEAKNESS,
            f"fewer than {MIN_OFFICERS} security officers can log in",
            "Nothing about keys can be approved until they can",
            "They open their invitations in the console",
        )
    for account in accounts:
        yield from _find_account_findings(reading, account, people[account.person_id])


def _find_account_findings(reading: Transaction, account: Account, person: Person) -> Iterator[Finding]:
    kinds = {item.kind for item in reading.credentials.list_for_account(account.id)}
    if not kinds & SECOND_FACTORS:
        yield Finding(
            f"people.{account.login}",
            Severity.REFUSED,
            f"{person.name}'s account has no second factor",
            "A password alone can be read over a shoulder",
            f"`kms people reset {account.login}`, then a new invitation",
            mended_in_console=True,
        )
    elif CredentialKind.WEBAUTHN not in kinds:
        yield Finding(
            f"people.{account.login}",
            Severity.WEAKNESS,
            f"{person.name}'s account has one-time codes alone",
            "A false site can ask for a code and use it at once",
            "Enrol a security key",
        )


def _find_master_findings(reading: Transaction, key: MasterKey) -> Iterator[Finding]:
    where = f"keys.{key.name}-{key.generation}"
    if _is_test_key(key):
        yield Finding(
            where,
            Severity.REFUSED,
            f"its check value {key.kcv.hex().upper()} is that of a published test key",
            "Everybody knows the keys of its cards",
            "Begin production with a database and a token of its own; test cards belong into a lab",
        )
    if key.kind not in _BACKED_UP:
        return
    ceremony = reading.ceremonies.find_for_key(key.id)
    done = set()
    if ceremony is not None and ceremony.state is CeremonyState.DONE and not ceremony.rehearsal:
        done = {item.do for item in reading.ceremonies.list_steps(ceremony.id)}
    if StepKind.WAIVE_BACKUP in done:
        yield Finding(
            where,
            Severity.WEAKNESS,
            "it has no backup: officers waived it",
            "If the token fails, its cards are out of reach for ever",
            "Replace it by a generation that was backed up",
        )
    elif StepKind.PROVE_BACKUP not in done:
        yield Finding(
            where,
            Severity.REFUSED if key.state is KeyState.ACTIVE else Severity.WEAKNESS,
            "it has no proved backup",
            "If the token fails, its cards are out of reach for ever",
            "Make the next generation in a ceremony with a backup (`kms ceremony`), and deactivate this one",
            mended_in_console=True,
        )


def _is_test_key(key: MasterKey) -> bool:
    if not key.kcv:
        return False
    try:
        check_not_test_key(key.kcv, key.kcv_method)
    except KmsError:
        return True
    return False
