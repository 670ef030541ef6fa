"""What single-use processes do: take in or give out one key component, or combine them. Each ends after that.

Rules: request buffers and interpreters' strings cannot be wiped, processes can be ended (docs/adr/0117): no long-lived
process calls anything of this module. Taking a component in needs the public half of the ceremony's key pair and no
HSM. Who may hold the component is checked before it is read, and again when it is written.
"""

from collections.abc import Callable
from typing import Protocol

from kms.card.keys import KcvMethod
from kms.config.ceremony_files import parse_script
from kms.domain.ceremonies import check_step
from kms.domain.ceremony_scripts import COMPONENT_STEPS, Step, StepKind
from kms.domain.key_components import check_custodian, parse_component
from kms.domain.people import Principal
from kms.domain.permissions import Action, check_permitted
from kms.errors import Code, KmsError
from kms.service.ceremonies.ports import CeremonyVault, SealedKey
from kms.service.ceremonies.sealing import seal_component
from kms.service.ceremonies.service import CeremonyService, CeremonyView
from kms.service.keys import find_kcv_method
from kms.service.ports import Clock, Store


class Randomness(Protocol):
    """Where a component of our own making comes from: the HSM."""

    def random(self, length: int) -> bytes:
        """Random bytes."""
        ...


class ComponentEntry:
    """The use cases of custodians."""

    def __init__(self, *, store: Store, clock: Clock, ceremonies: CeremonyService) -> None:
        self._store = store
        self._clock = clock
        self._ceremonies = ceremonies

    def check(self, principal: Principal, ceremony_id: str) -> CeremonyView:
        """The ceremony, if this person is to hold its next component. Raises `ceremony.*`, `person.not-permitted`."""
        check_permitted(principal, Action.CEREMONIES_STEP)
        view = self._ceremonies.view(ceremony_id)
        try:
            step = check_step(
                view.ceremony, view.script, view.next_number, principal, done=view.steps, now=self._clock.now()
            )
            _check_component(step)
            with self._store.reading() as reading:
                history = reading.ceremonies.list_custody(view.ceremony.key_name, rehearsal=view.ceremony.rehearsal)
            check_custodian(principal, step.component, view.components, history)
        except KmsError as error:
            self._ceremonies.refuse_component(principal, view, error)
            raise
        return view

    def enter(self, principal: Principal, ceremony_id: str, text: str) -> tuple[int, bytes, KcvMethod]:
        """Take a component in, as hex; its number and check value. Raises `input.invalid`, `ceremony.*`."""
        view = self.check(principal, ceremony_id)
        if view.next_step is None or view.script.key is None or view.next_step.do is not StepKind.ENTER_COMPONENT:
            raise KmsError(Code.CEREMONY_STATE, "The next component is not entered: it is made (`--make`).")
        try:
            component = parse_component(text, view.script.key.type)
            sealed = seal_component(component, view.script.key.type, view.ceremony.pair_public)
        except KmsError as error:
            self._ceremonies.refuse_component(principal, view, error)
            raise
        self._ceremonies.add_component(principal, view, sealed)
        return view.next_step.component, sealed[0], sealed[1]

    def make(
        self,
        principal: Principal,
        ceremony_id: str,
        randomness: Randomness,
        show: Callable[[bytearray, bytes, KcvMethod], None],
    ) -> int:
        """Give a component out, of the HSM's making; its number.

        `show`: shows it once, with its check value, and returns when the custodian has written it down; it is recorded
        after that, so that one that nobody has seen is never counted.
        """
        view = self.check(principal, ceremony_id)
        if view.next_step is None or view.script.key is None or view.next_step.do is not StepKind.MAKE_COMPONENT:
            raise KmsError(Code.CEREMONY_STATE, "The next component is not made: it is entered.")
        key_type = view.script.key.type
        component = bytearray(randomness.random(key_type.length))
        shown = bytearray(component)
        try:
            sealed = seal_component(component, key_type, view.ceremony.pair_public)
            show(shown, sealed[0], sealed[1])
        finally:
            shown[:] = bytes(len(shown))
        self._ceremonies.add_component(principal, view, sealed)
        return view.next_step.component


def _check_component(step: Step) -> None:
    if step.do not in COMPONENT_STEPS:
        raise KmsError(Code.CEREMONY_STATE, "No component is due now: look at the next step.")


class CombineHere:
    """`Combiner` in the process it is called in, which ends afterwards."""

    def __init__(self, *, store: Store, vault: CeremonyVault, rehearsal: CeremonyVault | None) -> None:
        self._store = store
        self._vault = vault
        self._rehearsal = rehearsal

    def combine(self, ceremony_id: str) -> SealedKey:
        """See `Combiner.combine`."""
        with self._store.reading() as reading:
            ceremony = reading.ceremonies.get(ceremony_id)
            components = reading.ceremonies.list_components(ceremony_id)
        vault = self._rehearsal if ceremony.rehearsal else self._vault
        if vault is None or not components:
            raise KmsError(Code.CEREMONY_STATE, "The ceremony has nothing to combine.")
        script = parse_script(ceremony.script_name, ceremony.script).script
        if script.key is None or len(components) != script.key.components:
            raise KmsError(Code.CEREMONY_STATE, "The ceremony's components are not all there.")
        expected = None
        if ceremony.expected_kcv:
            expected = (find_kcv_method(script.key.type, ceremony.expected_kcv), ceremony.expected_kcv)
        return vault.ceremony_keys.combine(
            ceremony.pair_public, ceremony.pair_id, script.key.type, [item.wrapped for item in components], expected
        )
