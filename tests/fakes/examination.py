"""What must be true of a platform and a card in the end, and what must be true at any time, as plain sentences.

Rules: nothing here is the platform's own judgement: its records are read, the card's memory is looked into, and the
card is asked as any terminal can ask it.
"""

from kms.db.store import SqlStore, SqlTransaction
from kms.domain.keys import Delivery, KeyState
from kms.domain.updates import UpdateState
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.key_store import compute_kcv


class Examination:
    """A platform's store and a card, to be examined. `sent`: commands that reached the card.

    `challenge_length`: bytes of the host challenge that the card takes; `key_values`: what each generation was.
    """

    store: SqlStore
    card: VirtualCard
    sent: list[bytes]
    key_values: dict[tuple[str, str, int], tuple[int, tuple[bytes, ...]]]
    challenge_length = 8

    def find_faults(self) -> list[str]:
        """What is not as it must be in the end; and what must never be, at any time."""
        with self.store.transaction() as tx:
            return [*self._find_open(tx), *self._find_differences(tx), *self.find_broken_rules(tx)]

    def _find_open(self, tx: SqlTransaction) -> list[str]:
        updates = tx.key_updates.list(limit=100)
        return [f"update {u.id} is {u.state}: {u.failure}" for u in updates if u.state is not UpdateState.DONE]

    def _find_differences(self, tx: SqlTransaction) -> list[str]:
        """What the platform holds for proved, against what is on the card."""
        found = []
        on_record = tx.security_domains.list(limit=100)
        on_card = self.card.state.domains
        if sorted(d.aid for d in on_record) != sorted(d.aid for d in on_card):
            found.append("other security domains on the card than on record")
        for domain in on_record:
            sets = tx.key_sets.list_for_domain(domain.id)
            proved = {
                s.kvn: s.kcvs for s in sets if s.delivery is Delivery.PROVED and s.state is KeyState.ACTIVE and s.kcvs
            }
            installed = self.card.state.find_domain(domain.aid)
            held = {s.kvn: tuple(map(compute_kcv, s.keys)) for s in installed.key_sets} if installed else {}
            untouched = not proved and any(s.purpose is None and s.kvn in held for s in sets)
            if len(held) != 1 or (held != proved and not untouched):
                shown = [f"{kvn:02X}" for kvn in held], [f"{kvn:02X}" for kvn in proved]
                found.append(f"{domain.aid.hex()}: key versions on the card {shown[0]}, proved {shown[1]}")
            unsettled = [s.kvn for s in sets if s.delivery in (Delivery.IN_FLIGHT, Delivery.IN_DOUBT)]
            found += [f"{domain.aid.hex()}: key version {kvn:02X} is still in doubt" for kvn in unsettled]
            old = {s.kvn for s in sets if s.delivery is Delivery.REPLACED} - held.keys()
            opening = [kvn for kvn in {*old, *held} if self._opens(domain.aid, kvn)]
            if sorted(opening) != sorted(held):
                found.append(f"{domain.aid.hex()}: channels open under {[f'{kvn:02X}' for kvn in opening]}")
        return found

    def _opens(self, aid: bytes, kvn: int) -> bool:
        """Whether the card begins a channel under a key version, asked as any terminal can ask."""
        self.card.reset()
        self.card.transmit(bytes([0x00, 0xA4, 0x04, 0x00, len(aid)]) + aid + b"\x00")
        answer = self.card.transmit(
            bytes([0x80, 0x50, kvn, 0x00, self.challenge_length]) + bytes(self.challenge_length) + b"\x00"
        )
        return answer[-2:] == b"\x90\x00"

    def find_broken_rules(self, tx: SqlTransaction) -> list[str]:
        """Rules that hold at any time: no wrapped command twice, no generation for two different sets of keys."""
        wrapped = [command for command in self.sent if command[0] & 0x04]
        found = [] if len(wrapped) == len(set(wrapped)) else ["a wrapped command was sent twice"]
        for item in tx.key_sets.list(limit=1000):
            if item.kcvs and item.purpose is not None:
                key = (item.security_domain_id, str(item.purpose), item.generation)
                value = (item.kvn, item.kcvs)
                if self.key_values.setdefault(key, value) != value:
                    found.append(f"generation {item.generation} of {item.purpose} was used for other keys")
        return found
