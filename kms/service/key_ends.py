"""A key past its end protects nothing new: what is checked before anything leaves that a key would protect.

Rules: a master past its end issues no new key sets; one that was sent before its master's end may be sent again, since
a retry installs the same keys. A key set past its end opens no channel but for its own replacement, within the policy's
grace, or later by an exception that officers recorded with the update. What is not ACTIVE opens nothing. Checked when a
program is planned, and again before each of its batches leaves, whatever the program: an end may come in between.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from kms.card.programs.create_ssd import CreateSsd
from kms.card.programs.delete_keys import DeleteKeys
from kms.card.programs.probe import Probe
from kms.card.programs.recognize import Recognize
from kms.card.programs.reconcile import Reconcile
from kms.card.programs.replace_keys import ReplaceKeys
from kms.card.programs.state import ProgramState
from kms.domain.cards import SecurityDomain
from kms.domain.keys import KeySet, KeyState, MasterKey
from kms.domain.updates import KeyUpdate
from kms.errors import Code, KmsError
from kms.service.card_record import CardRecord

UNUSABLE = frozenset({KeyState.SUSPENDED, KeyState.COMPROMISED, KeyState.DESTROYED})


def check_usable(master: MasterKey) -> None:
    """Raise `key.state` for a master that nothing is derived from any more."""
    if master.state in UNUSABLE:
        raise KmsError(Code.KEY_STATE, f"the master key {master.name} generation {master.generation} is {master.state}")


def check_issuing(master: MasterKey, now: datetime) -> None:
    """Raise unless new key sets may be derived from a master: `key.state`, `key.expired`."""
    if master.state is not KeyState.ACTIVE:
        raise KmsError(Code.KEY_STATE, f"the master key {master.name} generation {master.generation} is {master.state}")
    if master.expires_at is not None and master.expires_at <= now:
        raise KmsError(
            Code.KEY_EXPIRED,
            f"the master key {master.name} generation {master.generation} issues nothing since"
            f" {master.expires_at:%Y-%m-%d %H:%M} UTC: make its next generation (`kms keys generate --new-generation`)",
        )


@dataclass(frozen=True)
class KeyEnds:
    """The ends of one card's keys. `grace`: how long past its end a set may open the channel for its replacement."""

    record: CardRecord
    grace: Callable[[SecurityDomain], timedelta]

    def check_program(self, state: ProgramState, update: KeyUpdate | None, now: datetime) -> None:
        """Raise `key.expired` or `key.state` where the program would use a key for something new past its end.

        `update`: the one that the program is for.
        """
        match state:
            case ReplaceKeys():
                self._check_channel(state.current.label, update, now, own=True)
                self._check_new(state.new.label, now)
            case CreateSsd():
                # Not the ISD's own replacement: new initial keys under an ISD past its end wait for the ISD's.
                self._check_channel(state.parent.label, None, now, own=False)
                self._check_new(state.initial.label, now)
            case DeleteKeys():
                self._check_channel(state.current.label, update, now, own=True)
            case Reconcile() | Probe() | Recognize():
                return  # opens no channel: card cryptograms are checked off-line
            case _:
                assert_never(state)

    def _check_channel(self, label: str, update: KeyUpdate | None, now: datetime, *, own: bool) -> None:
        key_set = self.record.key_sets[label]
        if key_set.state is not KeyState.ACTIVE:
            raise KmsError(Code.KEY_STATE, f"the key set in force is {key_set.state}: no channel is opened under it")
        end = self._find_end(key_set)
        if end is None or now < end:
            return
        since = f"the keys in force, version {key_set.kvn:02X}, are past their end ({end:%Y-%m-%d %H:%M} UTC)"
        if not own:
            raise KmsError(Code.KEY_EXPIRED, f"{since}: they are replaced before anything else goes in under them")
        if update is not None and update.past_end:
            return
        if now >= end + self.grace(self.record.domains[key_set.security_domain_id]):
            raise KmsError(Code.KEY_EXPIRED, f"{since} and grace: officers decide (`kms updates allow`)")

    def _check_new(self, label: str, now: datetime) -> None:
        key_set = self.record.key_sets[label]
        if key_set.state is KeyState.COMPROMISED:
            raise KmsError(Code.KEY_STATE, "the new key set is COMPROMISED: the next visit plans another")
        if not key_set.kcvs:  # check values come with the write-ahead: it was never sent
            check_issuing(self.record.masters[key_set.master_id], now)

    def _find_end(self, key_set: KeySet) -> datetime | None:
        """A vendor's set ends with its master, which is all that is known of it."""
        if key_set.purpose is None:
            master = self.record.masters.get(key_set.master_id)
            return master.expires_at if master is not None else None
        return key_set.expires_at
