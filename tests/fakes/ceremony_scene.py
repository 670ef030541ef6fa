"""Ceremonies with everything around them in memory, and people who carry them out."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

from kms.card.keys import KcvMethod, KeyType
from kms.config.ceremony_files import load_script
from kms.domain.ceremonies import CeremonyState, StepInput, Subject
from kms.domain.ceremony_scripts import COMPONENT_STEPS, StepKind
from kms.domain.people import Principal, Role
from kms.service.campaigns import CampaignService
from kms.service.ceremonies.components import CombineHere, ComponentEntry
from kms.service.ceremonies.key_states import KeyStates
from kms.service.ceremonies.record import RecordService
from kms.service.ceremonies.service import CeremonyService, CeremonyView
from kms.service.ceremonies.work import StepWork
from kms.service.compromise import CompromiseService
from kms.service.exchange import ExchangeService
from kms.service.keys import KeyService
from kms.service.platform_keys import PlatformKeyService
from kms.service.ports import Store, Transaction
from tests.fakes.ceremony_keys import CeremonialVault
from tests.fakes.memory_store import MemoryStore
from tests.fakes.principals import ALICE, BOB, build_principal
from tests.fakes.records import NOW, CountingIdentifiers, TickingClock
from tests.fakes.software_keys import check_value

SCRIPTS = Path(__file__).resolve().parents[2] / "config" / "ceremonies"
CUSTODIANS = tuple(build_principal(name, Role.KEY_CUSTODIAN) for name in ("carl", "dora", "emil"))


class CrossingStore:
    """A store that tells before and after each change of it."""

    def __init__(self, store: Store, crossing: Callable[[], None]) -> None:
        self._store = store
        self._crossing = crossing

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        with self._store.transaction() as tx:
            yield tx
            self._crossing()
        self._crossing()

    def reading(self) -> AbstractContextManager[Transaction]:
        return self._store.reading()

    def check(self) -> None:
        self._store.check()


class CeremonyScene:
    """`crossing`: called at every border to the HSM and the database."""

    def __init__(
        self, crossing: Callable[[], None] = lambda: None, store: Store | None = None, platform: str = "issuer"
    ) -> None:
        self.platform = platform
        self.clock = TickingClock(NOW)
        self.identifiers = CountingIdentifiers()
        self.vault = CeremonialVault(crossing)
        self.rehearsal = CeremonialVault()
        self.recovery = CeremonialVault()
        self.rows = store or MemoryStore()
        self.store = CrossingStore(self.rows, crossing)
        self.restart()

    def restart(self) -> None:
        """As after the process died: everything but HSM and database is made anew."""
        store, clock, identifiers = self.store, self.clock, self.identifiers
        self.keys = KeyService(store=store, vault=self.vault, clock=clock, identifiers=identifiers)
        self.platform_keys = PlatformKeyService(
            store=self.rows, vault=self.vault, clock=clock, identifiers=identifiers, platform=self.platform
        )
        campaigns = CampaignService(store=store, clock=clock, identifiers=identifiers, platform=self.platform)
        compromise = CompromiseService(
            store=store, clock=clock, identifiers=identifiers, campaigns=campaigns, platform=self.platform, no_route=()
        )
        exchange = ExchangeService(
            store=store,
            vault=self.vault,
            clock=clock,
            identifiers=identifiers,
            platform_keys=self.platform_keys,
            platform=self.platform,
        )
        work = StepWork(
            store=store,
            clock=clock,
            identifiers=identifiers,
            vault=self.vault,
            rehearsal=self.rehearsal,
            recovery=self.recovery,
            combiner=CombineHere(store=store, vault=self.vault, rehearsal=self.rehearsal),
            states=KeyStates(
                store=store,
                vault=self.vault,
                clock=clock,
                identifiers=identifiers,
                keys=self.keys,
                compromise=compromise,
            ),
            exchange=exchange,
            valid_for=timedelta(days=365),
        )
        self.ceremonies = CeremonyService(
            store=store,
            clock=clock,
            identifiers=identifiers,
            work=work,
            load=lambda name: load_script(SCRIPTS / f"{name}.toml"),
            software="kms 0",
            lab_mode=True,
        )
        self.entry = ComponentEntry(store=store, clock=clock, ceremonies=self.ceremonies)
        self.records = RecordService(
            store=store,
            ceremonies=self.ceremonies,
            platform_keys=self.platform_keys,
            platform=self.platform,
            mode="lab",
        )

    def start(self, name: str, subject: Subject, *, rehearsal: bool = False) -> str:
        digest = load_script(SCRIPTS / f"{name}.toml").digest
        return self.ceremonies.start(name, digest, subject, actor="person alice", rehearsal=rehearsal).ceremony.id

    def step(self, ceremony_id: str, components: tuple[bytes, ...] = ()) -> CeremonyView:
        """Do the next part of the next step, by whoever has not done it."""
        view = self.ceremonies.view(ceremony_id)
        step = view.next_step
        assert step
        if step.do in COMPONENT_STEPS:
            custodian = CUSTODIANS[step.component - 1]
            if step.do is StepKind.ENTER_COMPONENT:
                self.entry.enter(own_session(custodian), ceremony_id, components[step.component - 1].hex())
            else:
                self.entry.make(own_session(custodian), ceremony_id, self.vault, lambda *_shown: None)
            return self.ceremonies.view(ceremony_id)
        done = {item.person_id for item in view.steps if item.number == view.next_number}
        person = ALICE if ALICE.person_id not in done else BOB
        return self.ceremonies.act(person, ceremony_id, view.next_number, StepInput(kcv=view.ceremony.kcv))

    def run(self, ceremony_id: str, components: tuple[bytes, ...] = ()) -> CeremonyView:
        while self.ceremonies.view(ceremony_id).ceremony.state is CeremonyState.RUNNING:
            self.step(ceremony_id, components)
        return self.ceremonies.view(ceremony_id)


def own_session(principal: Principal) -> Principal:
    """The person in a login of their own."""
    return build_principal(principal.name, *principal.roles, session=f"session-{principal.name}")


def make_components(key_type: KeyType, number: int) -> tuple[tuple[bytes, ...], bytes, bytes]:
    """Components, the key they make, and its check value for people."""
    components = tuple(secrets.token_bytes(key_type.length) for _ in range(number))
    value = bytes(key_type.length)
    for item in components:
        value = bytes(a ^ b for a, b in zip(value, item, strict=True))
    method = KcvMethod.AES_CMAC if key_type.is_aes else KcvMethod.DES_ZERO
    return components, value, check_value(value, key_type, method)
