"""A vault in software that makes keys as the HSM does, and can be cut off before or after it made one."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from kms.card.keys import KcvMethod, KeyType, MasterRef
from kms.domain.keys import PlatformKeyPurpose
from kms.domain.token_objects import ExpectedObject, ObjectFinding, ObjectReport, UnexpectedObject
from kms.errors import Code, KmsError
from kms.service.ports import HsmStatus, NewKek, NewMaster
from tests.fakes.software_keys import KekSide, SoftwareKeys, check_value, open_software_scope

OAEP = padding.OAEP(mgf=padding.MGF1(hashes.SHA1()), algorithm=hashes.SHA1(), label=None)  # noqa: S303 - as the token does


class CutOffError(Exception):
    """The process died here."""


class MasterVault:
    """`objects`: key values by object id; `keks`: which of them are KEKs; `pairs`: key pairs by object id.

    `dangerous`: ids of objects that wrap and open. `cut_off`: "before" or "after" making the next key. `made`: how
    many.
    """

    def __init__(self) -> None:
        self.objects: dict[bytes, bytes] = {}
        self.keks: dict[bytes, KekSide] = {}
        self.pairs: dict[bytes, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey] = {}
        self.labels: dict[bytes, str] = {}
        self.dangerous: set[bytes] = set()
        self.login_keys: set[bytes] = set()
        self.cut_off = ""
        self.made = 0

    @contextmanager
    def open_scope(self) -> Iterator[SoftwareKeys]:
        with open_software_scope(self.objects, self.keks) as keys:
            yield keys

    def random(self, length: int) -> bytes:
        return secrets.token_bytes(length)

    def check(self) -> None:
        """Always there."""

    def watch(self, on_hang: Callable[[], None] | None = None) -> None:
        """Never hangs."""

    def close(self) -> None:
        """Nothing is open."""

    def status(self) -> HsmStatus:
        answered_at: datetime | None = None
        return HsmStatus("issuer", "maker", "model", "serial", "1.0", ("A", "B"), (), "native", answered_at, "tried")

    def generate_master(self, object_id: bytes, label: str) -> NewMaster:
        return self._make(object_id, label, KeyType.AES256, lambda: secrets.token_bytes(32))

    def generate_login_key(self, object_id: bytes, label: str) -> NewMaster:
        made = self._make(object_id, label, KeyType.AES256, lambda: secrets.token_bytes(32))
        self.login_keys.add(object_id)
        return made

    def mac(self, ref: MasterRef, data: bytes) -> bytes:
        if ref.object_id not in self.login_keys:
            raise KmsError(Code.KEY_ATTRIBUTES, "no login key")
        if check_value(self.objects[ref.object_id], ref.key_type, ref.kcv_method) != ref.kcv:
            raise KmsError(Code.KEY_KCV_MISMATCH, "another check value")
        cmac = CMAC(AES(self.objects[ref.object_id]))
        cmac.update(data)
        return cmac.finalize()

    def check_components(
        self, key_type: KeyType, components: Sequence[bytearray], expected_kcv: bytes, kcv_method: KcvMethod
    ) -> None:
        if any(len(component) != key_type.length for component in components) or not components:
            raise KmsError(Code.INPUT_INVALID, "components of a wrong number or length")
        if check_value(combine(components), key_type, kcv_method) != expected_kcv:
            raise KmsError(Code.KEY_KCV_MISMATCH, "another check value")

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
        self.check_components(key_type, components, expected_kcv, kcv_method)
        return self._make(object_id, label, key_type, lambda: combine(components))

    def generate_signing_key(self, object_id: bytes, label: str) -> bytes:
        return self._make_pair(object_id, label, lambda: ec.generate_private_key(ec.SECP256R1()))

    def generate_transport_key(self, object_id: bytes, label: str) -> bytes:
        return self._make_pair(object_id, label, lambda: rsa.generate_private_key(65537, 3072))

    def sign(self, object_id: bytes, data: bytes) -> bytes:
        key = self.pairs.get(object_id)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise KmsError(Code.KEY_MISSING, "no signing key of this object id")
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def check_key_pair(self, object_id: bytes, purpose: PlatformKeyPurpose, public_key_der: bytes) -> None:
        key = self.pairs.get(object_id)
        if key is None:
            raise KmsError(Code.KEY_MISSING, "no key pair of this object id")
        if isinstance(key, rsa.RSAPrivateKey) is not (purpose is PlatformKeyPurpose.TRANSPORT):
            raise KmsError(Code.KEY_ATTRIBUTES, "a key pair for something else")
        if dump_public(key) != public_key_der:
            raise KmsError(Code.KEY_KCV_MISMATCH, "another public half")

    def check_objects(self, expected: Sequence[ExpectedObject]) -> ObjectReport:
        findings = [ObjectFinding(item.name, item.object_id, *self._look(item)) for item in expected if item.is_made]
        known = {item.object_id for item in expected}
        unexpected = [
            UnexpectedObject(
                object_id, self.labels.get(object_id, ""), "secret key", dangerous=object_id in self.dangerous
            )
            for object_id in [*self.objects, *self.pairs]
            if object_id not in known
        ]
        return ObjectReport(tuple(findings), tuple(unexpected))

    def _look(self, item: ExpectedObject) -> tuple[Code | None, str]:
        try:
            if item.master is not None:
                with self.open_scope() as keys:
                    keys.get_master(item.master)
            if item.pair is not None:
                self.check_key_pair(item.object_id, *item.pair)
        except KmsError as error:
            return error.code, error.detail
        return None, ""

    def generate_kek(self, object_id: bytes, label: str, peer_transport_public: bytes) -> NewKek:
        if object_id in self.objects:
            raise KmsError(Code.CONFLICT, "the object id is taken")
        self.keks[object_id] = KekSide.WRAPS
        transport = load_der_public_key(peer_transport_public)
        if not isinstance(transport, rsa.RSAPublicKey) or transport.key_size != 3072:
            raise KmsError(Code.INPUT_INVALID, "no transport key")
        made = self._make(object_id, label, KeyType.AES256, lambda: secrets.token_bytes(32))
        return NewKek(made, transport.encrypt(self.objects[object_id], OAEP))

    def unwrap_kek(
        self, object_id: bytes, label: str, own_transport_object_id: bytes, wrapped: bytes, *, expected_kcv: bytes
    ) -> NewMaster:
        transport = self.pairs[own_transport_object_id]
        if not isinstance(transport, rsa.RSAPrivateKey):
            raise KmsError(Code.KEY_ATTRIBUTES, "no transport key")
        try:
            value = self.objects.get(object_id) or transport.decrypt(wrapped, OAEP)
        except ValueError:
            raise KmsError(Code.KEY_UNWRAP_REFUSED, "not whole, or for another HSM") from None
        if check_value(value, KeyType.AES256, KcvMethod.AES_CMAC) != expected_kcv:
            raise KmsError(Code.KEY_KCV_MISMATCH, "another check value")
        self.keks[object_id] = KekSide.UNWRAPS
        return self._make(object_id, label, KeyType.AES256, lambda: value)

    def _make_pair(
        self, object_id: bytes, label: str, build: Callable[[], ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]
    ) -> bytes:
        when, self.cut_off = self.cut_off, ""
        if when == "before":
            raise CutOffError
        if object_id not in self.pairs:
            self.pairs[object_id] = build()
            self.labels[object_id] = label
            self.made += 1
        if when == "after":
            raise CutOffError
        return dump_public(self.pairs[object_id])

    def _make(self, object_id: bytes, label: str, key_type: KeyType, build: Callable[[], bytes]) -> NewMaster:
        when, self.cut_off = self.cut_off, ""
        if when == "before":
            raise CutOffError
        if object_id not in self.objects:
            self.objects[object_id] = build()
            self.labels[object_id] = label
            self.made += 1
        if when == "after":
            raise CutOffError
        method = KcvMethod.AES_CMAC if key_type.is_aes else KcvMethod.DES_ZERO
        kcv = check_value(self.objects[object_id], key_type, method)
        return NewMaster(object_id, kcv, (("CKA_SENSITIVE", "true"),), method)


def dump_public(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def combine(components: Sequence[bytearray]) -> bytes:
    total = bytes(len(components[0]))
    for component in components:
        total = bytes(a ^ b for a, b in zip(total, component, strict=True))
    return total
