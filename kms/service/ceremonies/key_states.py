"""The states of master keys that ceremonies change: suspended, in use again, deactivated, destroyed, compromised.

Rules: a change that was made already is left as it is, so that a step which was cut off may be done again. Destroyed is
said of a key alone that the HSM no longer has: the service's login destroys no master (R19), so people remove it by the
HSM's own means first, and this is the proof.
"""

from collections.abc import Mapping
from dataclasses import replace

from kms.card.keys import MasterRef
from kms.domain.audit import AuditEvent, build_kcv_text
from kms.domain.ceremonies import Ceremony
from kms.domain.ceremony_scripts import CeremonyKind
from kms.domain.keys import KeyState, MasterKey
from kms.errors import Code, KmsError
from kms.service.campaigns import find_master
from kms.service.ceremonies.ports import CeremonyVault
from kms.service.compromise import CompromiseService
from kms.service.keys import KeyService
from kms.service.ports import Clock, Identifiers, Store

MOVES = {
    CeremonyKind.SUSPEND_KEY: (frozenset({KeyState.ACTIVE}), KeyState.SUSPENDED),
    CeremonyKind.RESUME_KEY: (frozenset({KeyState.SUSPENDED}), KeyState.ACTIVE),
    CeremonyKind.DESTROY_KEY: (
        frozenset({KeyState.DEACTIVATED, KeyState.COMPROMISED, KeyState.PRE_ACTIVATION}),
        KeyState.DESTROYED,
    ),
}
"""From which states a ceremony moves a key to which."""


class KeyStates:
    """The use cases."""

    def __init__(
        self,
        *,
        store: Store,
        vault: CeremonyVault,
        clock: Clock,
        identifiers: Identifiers,
        keys: KeyService,
        compromise: CompromiseService,
    ) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._identifiers = identifiers
        self._keys = keys
        self._compromise = compromise

    def describe_use(self, name: str, generation: int | None) -> Mapping[str, object]:
        """A key, and what hangs on it. Raises `input.not-found`."""
        key = self._keys.get(name, generation)
        use = self._keys.find_use(key)
        return {
            **describe_key(key),
            "key_sets_on_cards": use.live,
            "key_sets_planned": use.planned,
            "key_sets_past": use.past,
            "open_updates": use.open_updates,
        }

    def change(self, ceremony: Ceremony, actor: str) -> Mapping[str, object]:
        """Change the key's state as the ceremony's kind says. Raises `key.state`, `input.not-found`."""
        name, generation, why = ceremony.key_name, ceremony.generation, ceremony.because
        key = self._keys.get(name, generation)
        if ceremony.kind is CeremonyKind.DEACTIVATE_KEY:
            return describe_key(self._keys.deactivate(name, key.generation, actor=actor, why=why))
        if ceremony.kind is CeremonyKind.COMPROMISE_KEY:
            report = self._compromise.compromise(name, key.generation, actor=actor, why=why)
            return {
                **describe_key(report.master),
                "key_sets_marked": report.marked.key_sets,
                "campaign": report.campaign.name if report.campaign is not None else "none",
                "for_officers": report.affected.for_officers,
            }
        exceptions: Mapping[str, object] = {}
        if ceremony.kind is CeremonyKind.DESTROY_KEY and key.state is not KeyState.DESTROYED:
            exceptions = self._check_destroyed(key)
        return {**describe_key(self._move(ceremony, key, actor)), **exceptions}

    def _check_destroyed(self, key: MasterKey) -> Mapping[str, object]:
        use = self._keys.find_use(key)
        if use.live and key.state is not KeyState.COMPROMISED:
            raise KmsError(Code.KEY_STATE, f"{use.live} key sets on cards are derived from it: replace them first.")
        try:
            with self._vault.open_scope() as scope:
                scope.get_master(MasterRef(key.object_id, key.key_type, key.kcv, key.kcv_method))
        except KmsError as error:
            if error.code is not Code.KEY_MISSING:
                raise
            return {"in_the_hsm": "not found", "exceptions_key_sets_on_cards": use.live}
        raise KmsError(
            Code.KEY_STATE,
            "The key is still in the HSM, whose service login destroys no master: remove it by the HSM's own means.",
        )

    def _move(self, ceremony: Ceremony, key: MasterKey, actor: str) -> MasterKey:
        before, after = MOVES[ceremony.kind]
        with self._store.transaction() as tx:
            stored = find_master(tx, key.name, key.generation)
            if stored.state is after:
                return stored
            if stored.state not in before:
                raise KmsError(
                    Code.KEY_STATE, f"The key is {stored.state}: {' or '.join(sorted(before))} is what this is done to."
                )
            moved = replace(stored, state=after)
            tx.master_keys.save(moved)
            event = AuditEvent(
                id=self._identifiers.new(),
                at=self._clock.now(),
                actor=actor,
                action=f"master-key.{ceremony.kind.removesuffix('-key')}",
                subject=f"master-key {key.id}",
                result="done",
                kcv=build_kcv_text(key.kcv_method, [key.kcv]) if key.kcv else "",
                detail=f"{key.name} generation {key.generation} ({key.kind}), ceremony {ceremony.id}",
                reason=ceremony.because,
            )
            tx.audit.append(event)
        return moved


def describe_key(key: MasterKey) -> dict[str, object]:
    """A key in the record."""
    return {
        "key": f"{key.name} generation {key.generation}",
        "kind": str(key.kind),
        "state": str(key.state),
        "kcv": key.kcv.hex().upper(),
        "kcv_method": str(key.kcv_method),
    }
