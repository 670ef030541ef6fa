"""The forms of all actions, as data: one page shows any of them, one function reads them all.

Rules: a form only gathers texts; what they must be is the action's own strict form (`kms.service.action_definitions`),
whose faults are shown. A field that is left empty is left out. A dotted name is a place in nested parameters.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import hexdigits
from typing import Any

from werkzeug.datastructures import MultiDict

from kms.card.keys import KeyType
from kms.domain.cards import DomainKind
from kms.domain.keys import MasterKind
from kms.domain.people import Role
from kms.domain.permissions import PERMISSIONS, Action
from kms.domain.updates import UpdateReason

MAX_DIGITS = 12


@dataclass(frozen=True)
class Field:
    """One field. `kind`: how it is shown and read (`_read_field`).

    `hint`: what to write, beside the field.
    """

    name: str
    label: str
    kind: str = "text"
    required: bool = True
    hint: str = ""
    choices: tuple[str, ...] = ()
    default: str = ""


@dataclass(frozen=True)
class Form:
    """`title`: what is done, as a heading. `back`: the page that it belongs to. `intro`: what to know before."""

    title: str
    back: str
    fields: tuple[Field, ...] = ()
    intro: str = ""


_CARD = Field("card", "Card identity", "hex", hint="hexadecimal")
_WHY = Field("because", "Why", hint="stands in the audit log: a ticket, an incident")
_REASON = Field("reason", "Why", hint="stands in the audit log: a ticket, an incident")
_LOGIN = Field("login", "Login")
_ROLES = Field("roles", "Roles", "roles", choices=tuple(Role))
_MASTERS = tuple(str(kind) for kind in (MasterKind.ISD, MasterKind.SSD_INITIAL, MasterKind.SSD))
_CARD_TYPES = tuple(str(item) for item in KeyType if item is not KeyType.DES3)
_PEER = Field("peer", "Peer platform")
_COMPARED = Field("fingerprint", "Fingerprint that people compared", "fingerprint", hint="SHA-256, hexadecimal")
_CEREMONY = (
    Field("script", "Script"),
    Field("digest", "Hash of the script as you read it", "fingerprint", hint="SHA-256, hexadecimal"),
    Field("key_name", "Key", hint="its name; for a KEK the peer's"),
    Field("generation", "Generation", "number", required=False, hint="of a key whose state is changed"),
    Field("expected_kcv", "Announced check value", "hex", required=False, hint="of a key that is imported"),
    Field("valid_days", "Issues new key sets for days", "number", required=False),
    Field("because", "Why", required=False, hint="stands in the record"),
    Field("peer_file", "The peer's file", "area", required=False, hint="offer or answer, for a KEK"),
)

FORMS: Mapping[Action, Form] = {
    Action.ALARMS_ACKNOWLEDGE: Form(
        "Look into an alarm",
        "/alarms",
        (Field("alarm", "Alarm"),),
        "Others see that you look into it. The alarm stays open until what it is about is over.",
    ),
    Action.CARDS_QUARANTINE: Form("Set a card aside", "/cards", (_CARD, _REASON)),
    Action.CARDS_RELEASE: Form(
        "Serve a card again", "/cards", (_CARD,), "What counted against the card before counts no more."
    ),
    Action.CARDS_PROTOCOLS: Form(
        "Say which protocols a card speaks",
        "/cards",
        (
            _CARD,
            Field("scp02_i", "SCP02 option “i”", "byte", required=False, hint="hexadecimal; empty: not at all"),
            Field("scp03_i", "SCP03 option “i”", "byte", required=False, hint="hexadecimal; empty: not at all"),
        ),
    ),
    Action.CARDS_REPAIR: Form(
        "Look at a card",
        "/cards",
        (_CARD, Field("terminal", "Terminal", required=False, hint="empty: any")),
        "The next visit finds out which keys the card holds, and changes nothing.",
    ),
    Action.CARDS_REPAIR_CONFIRM: Form("Set a card's records to what was found", "/cards", (_CARD,)),
    Action.CARDS_REPAIR_CANCEL: Form("Drop a repair", "/cards", (_CARD,)),
    Action.TERMINALS_ENROL: Form(
        "Enrol a terminal",
        "/terminals",
        (Field("name", "Name"), Field("fingerprint", "Certificate", "fingerprint", hint="SHA-256, hexadecimal")),
    ),
    Action.TERMINALS_LIMIT: Form(
        "Limit a terminal",
        "/terminals",
        (
            Field("name", "Terminal"),
            Field(
                "limits.cards", "Card identities", "spans", required=False, hint="FIRST-LAST, one a line; empty: all"
            ),
            Field("limits.aids", "Security domains", "lines", required=False, hint="AIDs, one a line; empty: all"),
        ),
    ),
    Action.TERMINALS_SUSPEND: Form("Suspend a terminal", "/terminals", (Field("name", "Terminal"), _REASON)),
    Action.TERMINALS_RESUME: Form("Resume a terminal", "/terminals", (Field("name", "Terminal"),)),
    Action.TERMINALS_REVOKE: Form(
        "Revoke a terminal", "/terminals", (Field("name", "Terminal"), _REASON), "It is never served again."
    ),
    Action.UPDATES_FORCE: Form(
        "Force a key update",
        "/updates",
        (
            _CARD,
            Field("aid", "Security domain", "hex", required=False, hint="AID; empty: every SSD that holds keys"),
            Field("reason", "Reason", "choice", choices=tuple(UpdateReason), default=UpdateReason.FORCED),
            Field("deadline", "Overdue from", "time", required=False),
            Field("key_type", "Type of the new keys", "choice", required=False, choices=_CARD_TYPES),
        ),
        "The reason “compromise” marks the present keys as compromised at once.",
    ),
    Action.UPDATES_CANCEL: Form("Cancel a key update", "/updates", (Field("update", "Update"), _WHY)),
    Action.UPDATES_ALLOW: Form(
        "Allow an update under a key set past its end",
        "/updates",
        (Field("update", "Update"), _WHY),
        "An exception to the cryptoperiod, for this one update.",
    ),
    Action.CAMPAIGNS_CREATE: Form(
        "Make a campaign",
        "/campaigns",
        (
            Field("asked.name", "Name", hint="lower-case letters, digits and hyphens"),
            Field("asked.reason", "Reason", "choice", choices=("forced", "master-rotation", "key-type", "compromise")),
            Field("asked.master", "Master to be left", required=False, hint="its name, for a master rotation"),
            Field("asked.generation", "Its generation", "number", required=False),
            Field("asked.key_type", "Type of the new keys", "choice", required=False, choices=_CARD_TYPES),
            Field("asked.chosen.kind", "Kind of security domain", "choice", required=False, choices=tuple(DomainKind)),
            Field("asked.chosen.aid_prefix", "AID begins with", "hex", required=False),
            Field("asked.chosen.profile", "Card profile", required=False),
            Field("asked.chosen.batch", "Card batch", required=False),
            Field("asked.chosen.first_identity", "First card identity", "hex", required=False),
            Field("asked.chosen.last_identity", "Last card identity", "hex", required=False),
            Field("asked.chosen.identities", "Or these cards", "lines", required=False, hint="identities, one a line"),
            Field("asked.deadline", "Overdue from", "time", required=False),
            Field("asked.per_day", "Released a day", "number", required=False, hint="empty: all at once"),
            Field("asked.max_failures", "Stop at failures", "number", required=False),
            Field("asked.max_percent", "Stop at % failures", "number", required=False, default="20"),
        ),
        "Key sets are replaced in every security domain for which all that is given holds.",
    ),
    Action.CAMPAIGNS_PAUSE: Form(
        "Pause a campaign", "/campaigns", (Field("name", "Campaign"), Field("because", "Why", required=False))
    ),
    Action.CAMPAIGNS_RESUME: Form("Go on with a campaign", "/campaigns", (Field("name", "Campaign"),)),
    Action.CAMPAIGNS_CANCEL: Form("Cancel a campaign", "/campaigns", (Field("name", "Campaign"), _WHY)),
    Action.POLICIES_APPLY: Form(
        "Put policies in force",
        "/policies",
        (
            Field("policies", "Policies", "json", hint="a JSON list, each as a policy's page shows it"),
            Field("whole", "These and no others", "flag", required=False),
            Field("expected", "Key sets that become due at once", "number", default="0"),
        ),
        "Nothing is changed where another number of key sets would become due; then the number is told.",
    ),
    Action.KEYS_GENERATE: Form(
        "Generate a master key",
        "/keys",
        (
            Field("kind", "Kind", "choice", choices=_MASTERS),
            Field("name", "Name"),
            Field("new_generation", "Next generation of this name", "flag", required=False),
            Field("valid_days", "Issues new key sets for days", "number", required=False, hint="empty: as configured"),
        ),
        "The key is made inside the HSM and never leaves it.",
    ),
    Action.KEYS_DEACTIVATE: Form(
        "End the use of a master key",
        "/keys",
        (Field("name", "Master key"), Field("generation", "Generation", "number"), _WHY),
    ),
    Action.KEYS_COMPROMISE: Form(
        "Mark a master key as compromised",
        "/keys",
        (Field("name", "Master key"), Field("generation", "Generation", "number"), _WHY),
        "Stops everything below the key and opens the campaign that replaces it.",
    ),
    Action.EXCHANGE_OFFER: Form("Offer public keys to a peer", "/terminals", (_PEER,)),
    Action.EXCHANGE_ANSWER: Form(
        "Answer a peer's offer with a KEK",
        "/terminals",
        (
            _PEER,
            Field("offer", "The peer's offer", "area"),
            _COMPARED,
            Field("new_generation", "Next generation of the KEK", "flag", required=False),
            Field("new_peer_key", "Take another signing key of the peer", "flag", required=False),
        ),
        "Compare the fingerprint with the peer's people over another way than the file came.",
    ),
    Action.EXCHANGE_ACCEPT: Form(
        "Take a KEK out of a peer's answer",
        "/terminals",
        (
            _PEER,
            Field("answer", "The peer's answer", "area"),
            _COMPARED,
            Field("new_peer_key", "Take another signing key of the peer", "flag", required=False),
        ),
        "Compare the fingerprint with the peer's people over another way than the file came.",
    ),
    Action.CEREMONIES_START: Form("Hold a ceremony", "/ceremonies", _CEREMONY),
    Action.CEREMONIES_REHEARSE: Form(
        "Rehearse a ceremony", "/ceremonies", _CEREMONY, "On the token for rehearsals; nothing of the platform changes."
    ),
    Action.CEREMONIES_STEP: Form(
        "Do your part in a step",
        "/ceremonies",
        (
            Field("ceremony", "Ceremony"),
            Field("number", "Step", "number"),
            Field("kcv", "Check value as you see it", "hex", required=False, hint="where the step asks for it"),
            Field("fingerprint", "Fingerprint as the peer told it", "fingerprint", required=False),
            Field("note", "For the record", required=False),
        ),
    ),
    Action.CEREMONIES_ABORT: Form(
        "Abort a ceremony",
        "/ceremonies",
        (Field("ceremony", "Ceremony"), Field("why", "Why", hint="stands in the record")),
        "What it had begun is cleared away.",
    ),
    Action.AUDIT_KEY_REPLACE: Form("Replace the audit key", "/audit"),
    Action.RECOVERY_CONFIRM: Form("End recovery", "/", intro="Says that this is the database to go on with."),
    Action.PEOPLE_ADD: Form("Add a person", "/people", (Field("name", "Name"), _LOGIN, _ROLES)),
    Action.PEOPLE_ADD_ACCOUNT: Form(
        "Give a person another account",
        "/people",
        (_LOGIN, Field("new_login", "Login of the new account")),
        "The person counts once all the same.",
    ),
    Action.PEOPLE_CHANGE: Form(
        "Change a person",
        "/people",
        (
            _LOGIN,
            Field("name", "Another name", required=False),
            Field("roles", "Roles from now on", "roles", required=False, choices=tuple(Role)),
        ),
    ),
    Action.PEOPLE_DISABLE: Form("Shut a person out", "/people", (_LOGIN,), "All their logins end at once."),
    Action.PEOPLE_ENABLE: Form("Let a person in again", "/people", (_LOGIN,)),
    Action.PEOPLE_RESET: Form("Reset an account's credentials", "/people", (_LOGIN,)),
    Action.PEOPLE_INVITE: Form(
        "Invite a person", "/people", (_LOGIN,), "The invitation is shown once: give it to its person alone."
    ),
    Action.PEOPLE_CONFIRM: Form(
        "Confirm an account", "/people", (_LOGIN, Field("code", "Code", hint="as the person reads it out to you"))
    ),
    Action.QUORUM_SET: Form(
        "Set a quorum",
        "/people",
        (
            Field("action", "Action", "choice", choices=tuple(str(item) for item in PERMISSIONS)),
            Field("approvals", "Approvals by others", "number"),
        ),
    ),
}


def read_form(form: Form, sent: MultiDict[str, str]) -> dict[str, Any]:
    """Gather the parameters out of what a browser sent. A text that is no number stays a text, which is refused."""
    parameters: dict[str, Any] = {}
    for item in form.fields:
        value = _read_field(item, sent)
        if value is None:
            continue
        *outer, last = item.name.split(".")
        place = parameters
        for name in outer:
            place = place.setdefault(name, {})
        place[last] = value
    for missing in ("asked.chosen", "limits"):
        _ensure(parameters, form, missing)
    return parameters


def _ensure(parameters: dict[str, Any], form: Form, name: str) -> None:
    """A part of the parameters whose fields were all left empty is there all the same."""
    if any(item.name.startswith(f"{name}.") for item in form.fields):
        place = parameters
        for part in name.split("."):
            place = place.setdefault(part, {})


def _read_field(item: Field, sent: MultiDict[str, str]) -> Any:  # noqa: ANN401 - JSON
    if item.kind == "flag":
        return bool(sent.get(item.name))
    if item.kind == "roles":
        return sent.getlist(item.name) or ([] if item.required else None)
    text = sent.get(item.name, "").strip()
    if not text:
        return "" if item.required else None
    return _READERS.get(item.kind, str)(text)


def _read_number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < MAX_DIGITS else text


def _read_byte(text: str) -> int | str:
    return int(text, 16) if len(text) <= 2 and all(character in hexdigits for character in text) else text


def _read_hex(text: str) -> str:
    return "".join(text.split()).replace(":", "").replace("-", "")


def _read_time(text: str) -> str:
    """A time as browsers send it, which is meant in UTC, with its zone."""
    return text if text.endswith("Z") or "+" in text else f"{text}{':00' * (text.count(':') == 1)}Z"


def _read_spans(text: str) -> Sequence[Mapping[str, str]]:
    spans = (line.partition("-") for line in text.split())
    return [{"first": first, "last": last or first} for first, _, last in spans]


def _read_json(text: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


_READERS: Mapping[str, Callable[[str], Any]] = {
    "number": _read_number,
    "byte": _read_byte,
    "hex": _read_hex,
    "fingerprint": _read_hex,
    "time": _read_time,
    "lines": str.split,
    "spans": _read_spans,
    "json": _read_json,
}
