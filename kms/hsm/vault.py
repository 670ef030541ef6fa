"""The HSM as the services see it: `kms.service.ports.Vault` over one PKCS#11 token.

Rules: nothing is opened before the first use, so a vault can be made before a server forks its workers.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from kms.card.keys import KcvMethod, KeyType, MasterRef
from kms.domain.keys import PlatformKeyPurpose
from kms.domain.token_objects import ExpectedObject, ObjectReport
from kms.errors import Code, KmsError
from kms.hsm import keks, key_pairs, masters, objects
from kms.hsm.ceremony_keys import TokenCeremonyKeys
from kms.hsm.gateway import Gateway
from kms.hsm.scope import TokenScope
from kms.hsm.self_check import SelfCheck, run_self_check
from kms.hsm.settings import HsmSettings
from kms.hsm.templates import MasterUse
from kms.hsm.watch import Watch
from kms.service.ports import HsmStatus, NewKek, NewMaster

MAX_RANDOM = 1024  # bytes


class TokenVault:
    """A vault over one token. Safe to share between threads."""

    def __init__(self, settings: HsmSettings) -> None:
        self._settings = settings
        self._gateway = Gateway(settings)
        self._watch: Watch | None = None
        self._watch_process = 0
        self._watch_lock = threading.Lock()

    @property
    def ceremony_keys(self) -> TokenCeremonyKeys:
        """The token's part in ceremonies (`kms.service.ceremonies.ports.CeremonyKeys`)."""
        return TokenCeremonyKeys(self._gateway)

    @contextmanager
    def open_scope(self) -> Iterator[TokenScope]:
        """See `Vault.open_scope`. Opening makes no call; the token is opened at the first operation."""
        scope = TokenScope(self._gateway)
        try:
            yield scope
        finally:
            scope.close()

    def random(self, length: int) -> bytes:
        """See `Vault.random`. `length`: 1 to 1024 bytes."""
        if not 1 <= length <= MAX_RANDOM:
            raise KmsError(Code.INPUT_INVALID, f"random bytes are made 1 to {MAX_RANDOM} at a time")
        with self._gateway.connect() as connection:
            return connection.hsm_session.generate_random(length * 8)

    @property
    def connections(self) -> int:
        """How many connections to the token this process has opened; never waits."""
        return self._gateway.generation

    def check(self) -> None:
        """See `Vault.check`. The first call in a process starts `watch`, which opens the token."""
        if self._watch is None or self._watch_process != os.getpid():
            self.watch()
        self._gateway.check()

    def watch(self, on_hang: Callable[[], None] | None = None) -> None:
        """Open the token and keep asking it for signs of life, in threads of this process.

        `on_hang`: called once, in a thread, when a PKCS#11 call runs longer than `call_timeout_s`. Call it in the
        worker, after the fork; again to set `on_hang`.
        """
        with self._watch_lock:
            if self._watch is not None and self._watch_process == os.getpid():
                self._watch.stop()
            self._watch = Watch(self._gateway, on_hang)
            self._watch_process = os.getpid()
            self._watch.start()

    def observe(self, observe: Callable[[str, float, datetime | None], None]) -> None:
        """Tell of each use of the token: `answered`, `refused` or `lost`, its seconds, when the token last answered."""
        self._gateway.observe = observe

    def status(self) -> HsmStatus:
        """See `Vault.status`. Asks the token, opening it if need be."""
        with self._gateway.connect() as connection:
            token = connection.token.slot.get_token()
            plan = connection.plan
            mechanisms, missing = connection.mechanisms, connection.missing_mechanisms
            missing_for_peers = connection.missing_peer_mechanisms
        return HsmStatus(
            token_label=token.label,
            manufacturer=token.manufacturer_id,
            model=token.model,
            serial=token.serial.decode("ascii", "replace"),
            firmware=".".join(str(part) for part in token.firmware_version),
            mechanisms=mechanisms,
            missing_mechanisms=missing,
            wrap_strategy=str(plan.weakest),
            answered_at=self._gateway.answered_at,
            wrap_reason=plan.reason,
            missing_peer_mechanisms=missing_for_peers,
        )

    def generate_master(self, object_id: bytes, label: str) -> NewMaster:
        """See `Vault.generate_master`."""
        with self._gateway.connect() as connection:
            connection.check_mechanisms()
            return masters.generate_master(connection, object_id, label)

    def generate_login_key(self, object_id: bytes, label: str) -> NewMaster:
        """See `Vault.generate_login_key`."""
        with self._gateway.connect() as connection:
            connection.check_mechanisms()
            return masters.generate_master(connection, object_id, label, MasterUse.MAC)

    def mac(self, ref: MasterRef, data: bytes) -> bytes:
        """See `Vault.mac`."""
        with self._gateway.connect() as connection:
            connection.check_mechanisms()
            return masters.compute_mac(connection, ref, data, self._gateway.now())

    def check_components(
        self, key_type: KeyType, components: Sequence[bytearray], expected_kcv: bytes, kcv_method: KcvMethod
    ) -> None:
        """See `Vault.check_components`."""
        with self._gateway.connect() as connection:
            connection.check_mechanisms()
            masters.try_components(connection, key_type, components, (kcv_method, expected_kcv))

    def import_master(
        self,
        object_id: bytes,
        label: str,
        *,
        key_type: KeyType,
        components: Sequence[bytearray],
        expected_kcv: bytes,
        kcv_method: KcvMethod,
    ) -> NewMaster:
        """See `Vault.import_master`."""
        try:
            with self._gateway.connect() as connection:
                connection.check_mechanisms()
                return masters.import_master(
                    connection,
                    object_id,
                    label,
                    key_type=key_type,
                    components=components,
                    expected=(kcv_method, expected_kcv),
                )
        finally:
            for component in components:
                component[:] = bytes(len(component))

    def generate_signing_key(self, object_id: bytes, label: str) -> bytes:
        """See `Vault.generate_signing_key`."""
        return self._generate_key_pair(object_id, label, PlatformKeyPurpose.SIGNING)

    def generate_transport_key(self, object_id: bytes, label: str) -> bytes:
        """See `Vault.generate_transport_key`."""
        return self._generate_key_pair(object_id, label, PlatformKeyPurpose.TRANSPORT)

    def sign(self, object_id: bytes, data: bytes) -> bytes:
        """See `Vault.sign`."""
        with self._gateway.connect() as connection:
            connection.check_peer_mechanisms()
            return key_pairs.sign(connection, object_id, data, self._gateway.now())

    def check_key_pair(self, object_id: bytes, purpose: PlatformKeyPurpose, public_key_der: bytes) -> None:
        """See `Vault.check_key_pair`."""
        with self._gateway.connect() as connection:
            key_pairs.check_key_pair(connection, object_id, purpose, public_key_der, self._gateway.now())

    def check_abilities(self) -> SelfCheck:
        """Try every mechanism and attribute that is relied on, on session objects; about a second. Raises `hsm.*`."""
        with self._gateway.connect() as connection:
            return run_self_check(connection)

    def check_objects(self, expected: Sequence[ExpectedObject]) -> ObjectReport:
        """See `Vault.check_objects`."""
        try:
            return self._check_objects(expected)
        except KmsError as error:
            # An old connection that does not find a key gives itself up; a new one is to be believed.
            if error.code is not Code.HSM_UNAVAILABLE:
                raise
        return self._check_objects(expected)

    def _check_objects(self, expected: Sequence[ExpectedObject]) -> ObjectReport:
        with self._gateway.connect() as connection:
            return objects.check_objects(connection, expected, self._gateway.now())

    def generate_kek(self, object_id: bytes, label: str, peer_transport_public: bytes) -> NewKek:
        """See `Vault.generate_kek`."""
        with self._gateway.connect() as connection:
            connection.check_peer_mechanisms()
            return keks.generate_kek(connection, object_id, label, peer_transport_public)

    def unwrap_kek(
        self, object_id: bytes, label: str, own_transport_object_id: bytes, wrapped: bytes, *, expected_kcv: bytes
    ) -> NewMaster:
        """See `Vault.unwrap_kek`."""
        with self._gateway.connect() as connection:
            connection.check_peer_mechanisms()
            return keks.unwrap_kek(
                connection,
                object_id,
                label,
                transport_object_id=own_transport_object_id,
                wrapped=wrapped,
                expected_kcv=expected_kcv,
                now=self._gateway.now(),
            )

    def _generate_key_pair(self, object_id: bytes, label: str, purpose: PlatformKeyPurpose) -> bytes:
        with self._gateway.connect() as connection:
            connection.check_peer_mechanisms()
            return key_pairs.generate_key_pair(connection, object_id, label, purpose)

    def close(self) -> None:
        """Stop watching, log out and end the connection."""
        with self._watch_lock:
            if self._watch is not None and self._watch_process == os.getpid():
                self._watch.stop()
            self._watch = None
        self._gateway.close()


def open_vault(settings: HsmSettings) -> TokenVault:
    """The vault of a token; the token itself is opened at its first use, in the process that uses it."""
    return TokenVault(settings)
