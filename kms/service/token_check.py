"""Whether every key on record is in the HSM as it was made: attributes, check values, public halves.

Rules: it looks and changes nothing. A key that is missing or other than recorded is an alarm until it is found again.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from kms.domain.alarms import Alarm, AlarmSeverity
from kms.errors import Code, KmsError
from kms.service.keys import MasterPresence
from kms.service.platform_keys import KeyPairPresence
from kms.service.ports import Clock, Identifiers, Store

KEY_WRONG = "key.wrong-in-hsm"
FINE = ("found", "not made yet")


class TokenCheck:
    """The check. `list_masters`, `list_key_pairs`: what the HSM says of each key on record."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        identifiers: Identifiers,
        list_masters: Callable[[], Sequence[MasterPresence]],
        list_key_pairs: Callable[[], Sequence[KeyPairPresence]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._identifiers = identifiers
        self._list_masters = list_masters
        self._list_key_pairs = list_key_pairs

    def check(self) -> str:
        """Look at every key. Raises `hsm.unavailable` when the HSM is away, so that nobody takes a key for lost."""
        found = {f"master {item.key.name} {item.key.generation}": item.presence for item in self._list_masters()}
        found |= {f"{item.key.purpose} key {item.key.name}": item.presence for item in self._list_key_pairs()}
        for presence in found.values():
            if presence.startswith("hsm."):
                raise KmsError(Code.HSM_UNAVAILABLE, f"the HSM could not be asked ({presence})")
        now = self._clock.now()
        wrong = {subject: presence for subject, presence in found.items() if presence not in FINE}
        with self._store.transaction() as tx:
            for subject in found:
                if subject in wrong:
                    tx.alarms.raise_(self._build_alarm(subject, wrong[subject], now))
                else:
                    tx.alarms.clear(KEY_WRONG, subject, now)
        return f"{len(found)} keys looked up, {len(wrong)} not as recorded"

    def _build_alarm(self, subject: str, presence: str, now: datetime) -> Alarm:
        text = f"the HSM does not hold {subject} as recorded: {presence}; `kms keys list` and the HSM's log tell more"
        severity = AlarmSeverity.CRITICAL
        return Alarm(self._identifiers.new(), KEY_WRONG, subject, text, severity, raised_at=now, last_at=now)
