"""Joins ceremonies with their tokens and single-use processes, for `kms.bootstrap`."""

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from kms.config import Config, HsmConfig, PlatformMode
from kms.config.ceremony_files import LoadedScript, find_script
from kms.errors import Code, KmsError
from kms.hsm.settings import HsmSettings
from kms.hsm.vault import TokenVault, open_vault
from kms.service.ceremonies.components import CombineHere, ComponentEntry
from kms.service.ceremonies.key_states import KeyStates
from kms.service.ceremonies.record import RecordService
from kms.service.ceremonies.service import CeremonyService
from kms.service.ceremonies.work import StepWork
from kms.service.compromise import CompromiseService
from kms.service.exchange import ExchangeService
from kms.service.keys import KeyService
from kms.service.platform_keys import PlatformKeyService
from kms.service.ports import Clock, Identifiers, Store
from kms.single_use.combiner import ProcessCombiner


@dataclass(frozen=True)
class Parts:
    """What ceremonies are joined with. `settings`: of a token of the configuration."""

    config: Config
    store: Store
    vault: TokenVault
    clock: Clock
    identifiers: Identifiers
    keys: KeyService
    compromise: CompromiseService
    exchange: ExchangeService
    platform_keys: PlatformKeyService
    settings: Callable[[HsmConfig], HsmSettings]


@dataclass(frozen=True)
class Ceremonies:
    """The services of ceremonies. `combine_here`, `entry`: for single-use processes alone."""

    service: CeremonyService
    records: RecordService
    entry: ComponentEntry
    combine_here: CombineHere


def build_ceremonies(parts: Parts) -> Ceremonies:
    """Build them; opens no token yet."""
    config, store, clock, identifiers = parts.config, parts.store, parts.clock, parts.identifiers
    chosen = config.ceremonies
    rehearsal = _open(parts, chosen.rehearsal_hsm if chosen is not None else None)
    recovery = _open(parts, chosen.recovery_hsm if chosen is not None else None)
    states = KeyStates(
        store=store,
        vault=parts.vault,
        clock=clock,
        identifiers=identifiers,
        keys=parts.keys,
        compromise=parts.compromise,
    )
    work = StepWork(
        store=store,
        clock=clock,
        identifiers=identifiers,
        vault=parts.vault,
        rehearsal=rehearsal,
        recovery=recovery,
        combiner=ProcessCombiner(config.source),
        states=states,
        exchange=parts.exchange,
        valid_for=timedelta(days=config.keys.master_valid_days),
    )

    def load(name: str) -> LoadedScript:
        if chosen is None:
            raise KmsError(Code.CONFIG_INVALID, "No folder of ceremonies is configured ([ceremonies] folder).")
        return find_script(chosen.folder, name)

    service = CeremonyService(
        store=store,
        clock=clock,
        identifiers=identifiers,
        work=work,
        load=load,
        software=f"kms {importlib.metadata.version('kms')}",
        lab_mode=config.platform.mode is PlatformMode.LAB,
    )
    return Ceremonies(
        service=service,
        records=RecordService(
            store=store,
            ceremonies=service,
            platform_keys=parts.platform_keys,
            platform=config.platform.name,
            mode=str(config.platform.mode),
        ),
        entry=ComponentEntry(store=store, clock=clock, ceremonies=service),
        combine_here=CombineHere(store=store, vault=parts.vault, rehearsal=rehearsal),
    )


def _open(parts: Parts, hsm: HsmConfig | None) -> TokenVault | None:
    return open_vault(parts.settings(hsm)) if hsm is not None else None
