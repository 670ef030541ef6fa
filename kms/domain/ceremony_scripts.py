"""The script of a ceremony: what is done, in which order, by whom. A reviewed file (`config/ceremonies/*.toml`).

Rules: a kind has its steps in a fixed order, so that no file can leave out an agreement, a confirmation or a backup's
proof without saying so (`waive-backup`); notes for people may stand anywhere. Everything is checked before the HSM is
touched. Nothing is decided by one person: agreement, confirmation, comparison and waiver take two officers at least.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from kms.card.keys import KeyType
from kms.domain.key_components import MAX_COMPONENTS, MIN_COMPONENTS
from kms.domain.keys import MasterKind
from kms.domain.people import Role
from kms.errors import Fault

MIN_PEOPLE = 2
MAX_PEOPLE = 9


class CeremonyKind(StrEnum):
    """What a ceremony is for."""

    GENERATE_MASTER = "generate-master"
    IMPORT_MASTER = "import-master"
    MAKE_BACKUP_KEY = "make-backup-key"
    SUSPEND_KEY = "suspend-key"
    RESUME_KEY = "resume-key"
    DEACTIVATE_KEY = "deactivate-key"
    DESTROY_KEY = "destroy-key"
    COMPROMISE_KEY = "compromise-key"
    OFFER_KEK = "offer-kek"
    ANSWER_KEK = "answer-kek"
    ACCEPT_KEK = "accept-kek"


class StepKind(StrEnum):
    """What is done in a step."""

    AGREE = "agree"  # the script's words were read aloud and compared
    NOTE = "note"  # people did what the text says
    GENERATE = "generate"  # the HSM makes the key, wrapped to the ceremony's pair
    ENTER_COMPONENT = "enter-component"  # a custodian enters one, in a single-use process
    MAKE_COMPONENT = "make-component"  # a custodian is given one of the HSM's making, in a single-use process
    COMBINE = "combine"  # the components become the key, wrapped to the ceremony's pair
    CONFIRM_KCV = "confirm-kcv"  # each officer enters the check value that they see
    BACK_UP = "back-up"  # the key is wrapped under the backup key
    PROVE_BACKUP = "prove-backup"  # the backup is unwrapped in another token, and its check value compared
    WAIVE_BACKUP = "waive-backup"  # officers decide to have none
    ACTIVATE = "activate"  # the key becomes a lasting one, and ACTIVE
    CHECK_USE = "check-use"  # what hangs on the key is counted, for the record
    CHANGE = "change"  # the key's state is changed, as the kind says
    COMPARE = "compare"  # each officer enters the fingerprint that the peer read out
    EXCHANGE = "exchange"  # the offer, answer or acceptance of a KEK


MAKING = frozenset({CeremonyKind.GENERATE_MASTER, CeremonyKind.IMPORT_MASTER, CeremonyKind.MAKE_BACKUP_KEY})
"""Kinds that make a key."""
CHANGING = frozenset(
    {
        CeremonyKind.SUSPEND_KEY,
        CeremonyKind.RESUME_KEY,
        CeremonyKind.DEACTIVATE_KEY,
        CeremonyKind.DESTROY_KEY,
        CeremonyKind.COMPROMISE_KEY,
    }
)
"""Kinds that change the state of a key."""
EXCHANGING = frozenset({CeremonyKind.OFFER_KEK, CeremonyKind.ANSWER_KEK, CeremonyKind.ACCEPT_KEK})
"""Kinds that exchange a KEK with a peer."""

COMPONENT_STEPS = frozenset({StepKind.ENTER_COMPONENT, StepKind.MAKE_COMPONENT})
OF_TWO = frozenset({StepKind.AGREE, StepKind.CONFIRM_KCV, StepKind.WAIVE_BACKUP, StepKind.COMPARE})
GENERATED = frozenset({MasterKind.ISD, MasterKind.SSD_INITIAL, MasterKind.SSD})


@dataclass(frozen=True)
class KeyPlan:
    """The key that a ceremony makes. `components`: how many; 0 for a generated one."""

    kind: MasterKind
    type: KeyType
    components: int = 0


@dataclass(frozen=True)
class Step:
    """One step. `people`: how many different ones do it. `component`: which, from 1. `text`: read to those present."""

    do: StepKind
    role: Role
    people: int = 1
    component: int = 0
    text: str = ""


@dataclass(frozen=True)
class Script:
    """A ceremony's script. `minutes`: after so long it is over, finished or not. `key`: of kinds that make one."""

    name: str
    purpose: str
    kind: CeremonyKind
    minutes: int
    quorum: int
    steps: tuple[Step, ...]
    key: KeyPlan | None = None


def check_script(script: Script) -> Sequence[Fault]:
    """Find every fault of a script; `where` is the field as it stands in the file."""
    faults = list(_check_key(script))
    for number, step in enumerate(script.steps):
        faults.extend(_check_step(step, f"steps[{number}]"))
    agreeing = [step for step in script.steps if step.do is StepKind.AGREE]
    if agreeing and agreeing[0].people < script.quorum:
        faults.append(Fault("quorum", f"{script.quorum} people are to be there, {agreeing[0].people} agree"))
    faults.extend(_check_order(script))
    return faults


def list_orders(script: Script) -> Sequence[tuple[StepKind, ...]]:
    """The orders of steps that a kind may have, notes left out."""
    begin: tuple[StepKind, ...] = (StepKind.AGREE,)
    if script.kind in CHANGING:
        return [(*begin, StepKind.CHECK_USE, StepKind.CHANGE)]
    if script.kind is CeremonyKind.OFFER_KEK:
        return [(*begin, StepKind.EXCHANGE)]
    if script.kind in EXCHANGING:
        return [(*begin, StepKind.COMPARE, StepKind.EXCHANGE)]
    components = script.key.components if script.key is not None else 0
    if script.kind is CeremonyKind.GENERATE_MASTER:
        made: tuple[StepKind, ...] = (StepKind.GENERATE,)
    elif script.kind is CeremonyKind.IMPORT_MASTER:
        made = (*[StepKind.ENTER_COMPONENT] * components, StepKind.COMBINE)
    else:
        made = (*[StepKind.MAKE_COMPONENT] * components, StepKind.COMBINE)
    start = (*begin, *made, StepKind.CONFIRM_KCV)
    if script.kind is CeremonyKind.MAKE_BACKUP_KEY:
        return [(*start, StepKind.ACTIVATE)]
    return [
        (*start, StepKind.BACK_UP, StepKind.PROVE_BACKUP, StepKind.ACTIVATE),
        (*start, StepKind.WAIVE_BACKUP, StepKind.ACTIVATE),
    ]


def _check_order(script: Script) -> Sequence[Fault]:
    found = tuple(step.do for step in script.steps if step.do is not StepKind.NOTE)
    orders = list_orders(script)
    if found in orders:
        numbers = [step.component for step in script.steps if step.do in COMPONENT_STEPS]
        if numbers != list(range(1, len(numbers) + 1)):
            return [Fault("steps", "The components' steps are numbered 1, 2, 3 ... in this order")]
        return []
    wanted = " or ".join(", ".join(order) for order in orders)
    return [Fault("steps", f"A {script.kind} ceremony has the steps {wanted}; notes may stand in between")]


def _check_key(script: Script) -> Sequence[Fault]:
    if script.kind not in MAKING:
        return [Fault("key", f"A {script.kind} ceremony makes no key: remove it")] if script.key is not None else []
    if script.key is None:
        return [Fault("key", "Missing: which key is made")]
    faults = []
    key = script.key
    if script.kind is CeremonyKind.GENERATE_MASTER:
        if key.kind not in GENERATED:
            faults.append(Fault("key.kind", "An isd, ssd-initial or ssd master is generated; others are not"))
        if key.components:
            faults.append(Fault("key.components", "A generated key has no components"))
    else:
        wanted = MasterKind.VENDOR if script.kind is CeremonyKind.IMPORT_MASTER else MasterKind.BACKUP
        if key.kind is not wanted:
            faults.append(Fault("key.kind", f"A {script.kind} ceremony makes a {wanted} key"))
        if not MIN_COMPONENTS <= key.components <= MAX_COMPONENTS:
            faults.append(Fault("key.components", f"A key has {MIN_COMPONENTS} to {MAX_COMPONENTS} components"))
    if script.kind is not CeremonyKind.IMPORT_MASTER and key.type is not KeyType.AES256:
        faults.append(Fault("key.type", "A key of our own making is AES256"))
    return faults


def _check_step(step: Step, where: str) -> Sequence[Fault]:
    faults = []
    role = Role.KEY_CUSTODIAN if step.do in COMPONENT_STEPS else Role.SECURITY_OFFICER
    if step.do is not StepKind.NOTE and step.role is not role:
        faults.append(Fault(f"{where}.role", f"This step is a {role}'s"))
    if step.do in OF_TWO and step.people < MIN_PEOPLE:
        faults.append(Fault(f"{where}.people", f"This step takes {MIN_PEOPLE} people at least"))
    if step.do not in OF_TWO | {StepKind.NOTE} and step.people != 1:
        faults.append(Fault(f"{where}.people", "This step is done by one person"))
    if not 1 <= step.people <= MAX_PEOPLE:
        faults.append(Fault(f"{where}.people", f"1 to {MAX_PEOPLE} people"))
    if bool(step.component) is not (step.do in COMPONENT_STEPS):
        faults.append(Fault(f"{where}.component", "The number of the component, in the steps of components alone"))
    if step.do is StepKind.NOTE and not step.text:
        faults.append(Fault(f"{where}.text", "Missing: what people do"))
    return faults
