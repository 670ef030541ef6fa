"""The one place that joins adapters to services.

Rules: nothing is opened at import time. The HSM is opened by its adapter at first use, and so after the fork of a
server's worker; the database connects at first use too.
"""

import os
import secrets
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kms.anchors.anchor_file import AnchorFile
from kms.anchors.database_anchor import FileAnchor
from kms.anchors.syslog_anchor import SyslogAnchor
from kms.bootstrap_ceremonies import Parts, build_ceremonies
from kms.config import Config, HsmConfig, PeerRole, PlatformMode, read_pin
from kms.db.store import SqlStore, open_store
from kms.domain.identifiers import build_uuid7
from kms.hsm.settings import P11_KIT_MODULES, HsmSettings
from kms.hsm.vault import TokenVault, open_vault
from kms.logins.passwords import Argon2Passwords
from kms.logins.security_keys import WebAuthnKeys
from kms.peer import PeerClient
from kms.service.alarms import AlarmService
from kms.service.applications import ApplicationService
from kms.service.audit_log import AnchorWriter, AuditLogService
from kms.service.campaigns import CampaignService
from kms.service.cards import CardService, CardSettings
from kms.service.ceremonies.components import CombineHere, ComponentEntry
from kms.service.ceremonies.record import RecordService
from kms.service.ceremonies.service import CeremonyService
from kms.service.compromise import CompromiseService
from kms.service.domain_requests import DomainRequests
from kms.service.enrolment import EnrolmentService
from kms.service.exchange import ExchangeService
from kms.service.hsm_connections import HsmConnections
from kms.service.keys import KeyService
from kms.service.login import LoginLimits, LoginService
from kms.service.one_time_codes import OneTimeCodes
from kms.service.pending import PendingService
from kms.service.people import PeopleService
from kms.service.platform_keys import PlatformKeyService
from kms.service.policies import PolicyService
from kms.service.ports import Store, Vault
from kms.service.quorums import QuorumService
from kms.service.recovery import RecoveryService
from kms.service.relay import Relay
from kms.service.repair import RepairService
from kms.service.second_factors import SecondFactors
from kms.service.sweeps import SweepService
from kms.service.terminals import TerminalService
from kms.service.token_check import TokenCheck
from kms.service.transfers import TransferService
from kms.service.updates import UpdateService
from kms.service.visit_step import VisitLimits
from kms.service.visits import VisitService


class SystemClock:
    """The machine's clock (`kms.service.ports.Clock`)."""

    def now(self) -> datetime:
        """Now, in UTC."""
        return datetime.now(UTC)


class TimeOrderedIdentifiers:
    """Row identifiers (`kms.service.ports.Identifiers`)."""

    def new(self) -> str:
        """A UUID of version 7."""
        return build_uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(10))


@dataclass(frozen=True)
class Platform:
    """Everything one installation offers, ready to use."""

    config: Config
    store: SqlStore
    vault: TokenVault
    keys: KeyService
    platform_keys: PlatformKeyService
    token_check: TokenCheck
    exchange: ExchangeService
    audit_log: AuditLogService
    cards: CardService
    terminals: TerminalService
    updates: UpdateService
    campaigns: CampaignService
    compromise: CompromiseService
    applications: ApplicationService
    visits: VisitService
    transfers: TransferService
    pending: PendingService
    recovery: RecoveryService
    hsm_connections: HsmConnections
    repair: RepairService
    policies: PolicyService
    sweeps: SweepService
    people: PeopleService
    logins: LoginService
    enrolment: EnrolmentService
    alarms: AlarmService
    ceremonies: CeremonyService
    ceremony_records: RecordService
    component_entry: ComponentEntry
    combine_here: CombineHere
    quorums: QuorumService


def open_platform(config: Config) -> Platform:
    """Build the platform. Raises `config.invalid` when the PIN cannot be read; connects to nothing yet."""
    clock = SystemClock()
    identifiers = TimeOrderedIdentifiers()
    store = open_store(config.database.url, config.platform.node)
    vault = open_vault(build_hsm_settings(config))
    relay = Relay({peer.name: PeerClient(peer) for peer in config.peers if peer.role is PeerRole.ISSUER})
    platform_keys = PlatformKeyService(
        store=store, vault=vault, clock=clock, identifiers=identifiers, platform=config.platform.name
    )
    people, logins, enrolment = build_people(config, store, vault)
    campaigns = CampaignService(store=store, clock=clock, identifiers=identifiers, platform=config.platform.name)
    recovery = RecoveryService(store=store, clock=clock, identifiers=identifiers, anchor=build_recovery_anchor(config))
    visits = VisitService(
        store=store,
        vault=vault,
        clock=clock,
        identifiers=identifiers,
        entropy=secrets.token_bytes,
        platform=config.platform.name,
        profiles=config.profiles,
        limits=VisitLimits(
            deadline=timedelta(seconds=config.visits.deadline_seconds),
            max_reconciliations=config.visits.max_reconciliations,
            max_attempts=config.visits.max_attempts,
            delay_ms=config.visits.delay_ms,
        ),
        relay=relay,
        recovery=recovery,
        on_failed=campaigns.judge,
    )
    keys = KeyService(
        store=store,
        vault=vault,
        clock=clock,
        identifiers=identifiers,
        lab_mode=config.platform.mode is PlatformMode.LAB,
        outside_ceremonies=config.platform.mode is PlatformMode.LAB,
        valid_for=timedelta(days=config.keys.master_valid_days),
    )
    exchange = ExchangeService(
        store=store,
        vault=vault,
        clock=clock,
        identifiers=identifiers,
        platform_keys=platform_keys,
        platform=config.platform.name,
    )
    compromise = CompromiseService(
        store=store,
        clock=clock,
        identifiers=identifiers,
        campaigns=campaigns,
        platform=config.platform.name,
        no_route=tuple(name for name, profile in config.profiles.items() if profile.initial_key_route == "put-key"),
    )
    ceremonies = build_ceremonies(
        Parts(
            config=config,
            store=store,
            vault=vault,
            clock=clock,
            identifiers=identifiers,
            keys=keys,
            compromise=compromise,
            exchange=exchange,
            platform_keys=platform_keys,
            settings=lambda hsm: build_hsm_settings(config, hsm),
        )
    )
    return Platform(
        config=config,
        store=store,
        vault=vault,
        keys=keys,
        platform_keys=platform_keys,
        token_check=TokenCheck(store=store, vault=vault, clock=clock, identifiers=identifiers),
        audit_log=AuditLogService(
            store=store,
            clock=clock,
            platform_keys=platform_keys,
            anchors=build_anchors(config),
            platform=config.platform.name,
            node=config.platform.node,
        ),
        exchange=exchange,
        cards=CardService(
            store=store,
            clock=clock,
            identifiers=identifiers,
            settings=CardSettings(
                platform=config.platform.name,
                profiles=config.profiles,
                take_over_isd=config.cards.take_over_isd,
            ),
        ),
        policies=PolicyService(store=store, clock=clock, identifiers=identifiers, platform=config.platform.name),
        sweeps=SweepService(store=store, clock=clock, identifiers=identifiers, platform=config.platform.name),
        people=people,
        logins=logins,
        enrolment=enrolment,
        terminals=TerminalService(store=store, clock=clock, identifiers=identifiers),
        updates=UpdateService(store=store, clock=clock, identifiers=identifiers),
        campaigns=campaigns,
        compromise=compromise,
        applications=ApplicationService(
            store=store,
            clock=clock,
            identifiers=identifiers,
            visits=visits,
            catalogue=config.applications,
            platform=config.platform.name,
            new_session_id=lambda: str(uuid.uuid4()),
            requests=DomainRequests(
                store=store,
                clock=clock,
                identifiers=identifiers,
                relay=relay,
                card_ranges=config.card_ranges,
                platform=config.platform.name,
                profiles=frozenset(config.profiles),
            ),
        ),
        transfers=TransferService(
            store=store,
            vault=vault,
            clock=clock,
            identifiers=identifiers,
            visits=visits,
            peers={peer.name: peer for peer in config.peers if peer.role is PeerRole.PROVIDER},
            platform=config.platform.name,
        ),
        visits=visits,
        pending=PendingService(store=store),
        recovery=recovery,
        hsm_connections=HsmConnections(store, clock, identifiers, config.platform.node),
        repair=RepairService(
            store=store,
            vault=vault,
            clock=clock,
            identifiers=identifiers,
            platform=config.platform.name,
            profiles=config.profiles,
        ),
        ceremonies=ceremonies.service,
        ceremony_records=ceremonies.records,
        component_entry=ceremonies.entry,
        combine_here=ceremonies.combine_here,
        alarms=AlarmService(store=store, clock=clock, identifiers=identifiers),
        quorums=QuorumService(store=store, clock=clock, identifiers=identifiers),
    )


def build_people(config: Config, store: Store, vault: Vault) -> tuple[PeopleService, LoginService, EnrolmentService]:
    """The services of people and their logins."""
    clock, identifiers = SystemClock(), TimeOrderedIdentifiers()
    console, platform = config.console, config.platform.name
    codes = OneTimeCodes(store=store, vault=vault, clock=clock, identifiers=identifiers, platform=platform)
    keys = WebAuthnKeys(rp_id=console.site, rp_name=platform, origin=console.origin)
    factors = SecondFactors(codes=codes, security_keys=keys, platform=platform)
    passwords = Argon2Passwords()
    limits = LoginLimits(idle=timedelta(minutes=console.idle_minutes), absolute=timedelta(hours=console.hours))
    return (
        PeopleService(store=store, clock=clock, identifiers=identifiers, codes=codes, new_secret=secrets.token_urlsafe),
        LoginService(
            store=store,
            clock=clock,
            identifiers=identifiers,
            passwords=passwords,
            factors=factors,
            new_secret=secrets.token_urlsafe,
            limits=limits,
        ),
        EnrolmentService(
            store=store,
            clock=clock,
            identifiers=identifiers,
            passwords=passwords,
            factors=factors,
            new_secret=secrets.token_urlsafe,
        ),
    )


def build_anchors(config: Config) -> list[AnchorWriter]:
    """The places outside the database that remember checkpoints of the audit log."""
    anchors: list[AnchorWriter] = []
    if config.audit.anchor_file is not None:
        anchors.append(AnchorFile(config.audit.anchor_file))
    if config.audit.syslog:
        anchors.append(SyslogAnchor())
    return anchors


def build_hsm_settings(config: Config, hsm: HsmConfig | None = None) -> HsmSettings:
    """What the HSM adapter has to be told. `hsm`: another token than the platform's own.

    Raises `config.invalid` when the PIN cannot be read.
    """
    hsm = hsm or config.hsm
    production = config.platform.mode is PlatformMode.PRODUCTION
    # A rehearsal's scratch token holds no key that counts; every other token must be on its list.
    rehearses = config.ceremonies is not None and hsm is config.ceremonies.rehearsal_hsm
    places = {"SOFTHSM2_CONF": hsm.softhsm2_conf, P11_KIT_MODULES: hsm.p11_kit_modules}
    environment = {name: os.fspath(path) for name, path in places.items() if path is not None}
    return HsmSettings(
        module=os.fspath(hsm.module),
        token_label=hsm.token_label,
        pin=read_pin(hsm),
        allow_transient_plaintext=hsm.allow_transient_plaintext,
        production=production,
        allowed_tokens=hsm.allowed_tokens if production and not rehearses else None,
        environment=environment,
        call_timeout_s=hsm.call_timeout_s,
        has_peers=bool(config.peers),
    )


def build_recovery_anchor(config: Config) -> FileAnchor | None:
    """What tells from outside the database that it is behind; None where no file is configured."""
    return FileAnchor(config.recovery.anchor_file) if config.recovery.anchor_file is not None else None
