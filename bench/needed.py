"""The PKCS#11 calls that a rotation needs, as a fixed list, and a bare loop that makes them.

Rules: the list is what the protocol asks for, whoever implements it in a token that never tells a key (reasons:
docs/performance.md); how often is each protocol's own. The loop calls python-pkcs11 alone, on the platform's own token
and master key, and does nothing with the answers. Run as `python -m bench.needed` with `Job` as JSON on standard input:
a process of its own, so that its CPU is that of these calls.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pkcs11
from pkcs11 import Attribute, Mechanism, ObjectClass, SecretKey, Session
from pkcs11 import KeyType as TokenKeyType

from kms.card.keys import CipherMode, KeyType, KeyUse
from kms.hsm.mechanisms import TOKEN_TYPES, DerivationParameter, get_length_attributes
from kms.hsm.templates import READABLE, Template, get_session_template
from kms.hsm.wrapping import WrapStrategy

DES, AES = KeyType.DES2, KeyType.AES128


@dataclass(frozen=True)
class Need:
    """An operation. `operation`: of `OPERATIONS`; `data`: bytes of input; `calls`: PKCS#11 calls of one."""

    operation: str
    count: int
    data: int
    why: str

    @property
    def calls(self) -> int:
        """PKCS#11 calls with python-pkcs11, of all of them."""
        return CALLS[self.operation] * self.count


# A key is derived, its rights are read back (twice, by python-pkcs11), and it is destroyed.
CALLS = {"static": 4, "session": 4, "read": 6, "cipher": 3, "mac": 3, "wrap": 2, "wrap-transient": 5}

_SCP02 = (
    Need("static", 3, 16, "ENC, MAC and DEK of the set in force: no key is stored"),
    Need("session", 4, 16, "S-ENC, C-MAC (twice: triple DES, and single DES for all blocks but the last), DEK"),
    Need("cipher", 1, 48, "both cryptograms of the channel, in one"),
    Need("cipher", 2, 8, "C-MAC of EXTERNAL AUTHENTICATE: all blocks but the last, the last"),
    Need("cipher", 1, 80, "C-MAC of PUT KEY: all blocks but the last"),
    Need("cipher", 1, 8, "C-MAC of PUT KEY: the last block"),
    Need("cipher", 1, 80, "PUT KEY enciphered (level 03)"),
    Need("static", 3, 16, "the three new keys"),
    Need("cipher", 3, 8, "their check values, which PUT KEY carries"),
    Need("wrap", 3, 16, "the new keys under the DEK"),
    Need("static", 1, 16, "ENC of the new set, for the proof: another request, perhaps another worker"),
    Need("session", 1, 16, "S-ENC of the new set"),
    Need("cipher", 1, 24, "card cryptogram under the new set"),
)
_SCP03 = (
    Need("static", 3, 16, "ENC, MAC and DEK of the set in force"),
    Need("read", 2, 32, "what precedes the last CMAC block of S-ENC and S-MAC, and the subkey K1"),
    Need("session", 2, 16, "S-ENC and S-MAC"),
    Need("static", 1, 16, "ENC once more, to MAC with: a key derives or MACs, never both"),
    Need("mac", 1, 32, "the pseudo-random card challenge"),
    Need("mac", 2, 32, "both cryptograms of the channel"),
    Need("mac", 2, 112, "C-MAC of EXTERNAL AUTHENTICATE and of PUT KEY"),
    Need("cipher", 1, 96, "PUT KEY enciphered, its ICV on the way (level 33)"),
    Need("static", 3, 16, "the three new keys"),
    Need("cipher", 3, 16, "their check values, which PUT KEY carries"),
    Need("wrap", 3, 16, "the new keys under the DEK"),
    Need("static", 2, 16, "ENC and MAC again, for the answer to PUT KEY: another request"),
    Need("read", 2, 32, "what precedes the last CMAC block of S-ENC and S-RMAC"),
    Need("session", 2, 16, "S-ENC and S-RMAC"),
    Need("mac", 1, 48, "R-MAC of the answer to PUT KEY"),
    Need("cipher", 2, 16, "ICV of the answer, and the answer deciphered"),
    Need("static", 2, 16, "ENC (to MAC with) and MAC of the new set, for the proof"),
    Need("read", 1, 32, "what precedes the last CMAC block of the new S-MAC"),
    Need("session", 1, 16, "S-MAC of the new set"),
    Need("mac", 2, 32, "card challenge and card cryptogram under the new set"),
)
NEEDS: dict[str, tuple[Need, ...]] = {
    "scp02-i15": _SCP02,
    "scp02-i55": (
        *_SCP02,
        Need("static", 2, 16, "MAC of both sets, to check the card challenge (i=55: it is predictable)"),
        Need("session", 1, 16, "C-MAC of the new set, to check its card challenge"),
        Need("cipher", 4, 8, "the card challenge under both sets"),
    ),
    "scp03-s8": _SCP03,
    "scp03-s16": (
        *_SCP03,
        Need("read", 5, 32, "S16: the context is two blocks, so each of five chain values takes two steps"),
    ),
}


@dataclass(frozen=True)
class Job:
    """What to measure. `module`, `token_label`, `pin_file`, `environment`: of the token; `needs`: of `NEEDS`."""

    module: str
    token_label: str
    pin_file: str
    environment: dict[str, str]
    needs: str
    transient: bool
    rotations: int


class BareLoop:
    """The calls on a token. `transient`: the token does not wrap under triple DES by itself."""

    def __init__(self, hsm_session: Session, key_type: KeyType, *, transient: bool) -> None:
        self._key_type = key_type
        self._strategy = WrapStrategy.TRANSIENT if transient else WrapStrategy.NATIVE
        self._master = _find_master(hsm_session)
        self._parent = self._derive(self._master, KeyType.AES256, 16, KeyUse.DERIVE)
        self._cipher = self._derive(self._master, KeyType.AES256, 16, KeyUse.ENCRYPT)
        self._dek = self._derive(self._master, KeyType.AES256, 16, KeyUse.WRAP)
        self._payload = self._derive(self._master, KeyType.AES256, 16, KeyUse.PAYLOAD)
        self._mac = None if key_type is DES else self._derive(self._master, KeyType.AES256, 16, KeyUse.MAC)
        self._operations: dict[str, Callable[[int], object]] = {
            "static": lambda data: self._derive(self._master, KeyType.AES256, data, KeyUse.DERIVE).destroy(),
            "session": lambda data: self._derive(self._parent, key_type, data, KeyUse.ENCRYPT).destroy(),
            "read": self._read,
            "cipher": self._encrypt,
            "mac": self._compute_mac,
            "wrap": self._wrap_transient if transient else self._wrap,
        }

    def run(self, needs: tuple[Need, ...]) -> None:
        """Make the calls of one rotation."""
        for need in needs:
            operation = self._operations[need.operation]
            for _ in range(need.count):
                operation(need.data)

    def _derive(self, parent: SecretKey, parent_type: KeyType, data: int, use: KeyUse) -> SecretKey:
        template = get_session_template(use, self._key_type, self._strategy)
        return self._derive_by(parent, parent_type, data, template, TOKEN_TYPES[self._key_type])

    def _derive_by(
        self, parent: SecretKey, parent_type: KeyType, data: int, template: Template, made: TokenKeyType
    ) -> SecretKey:
        mode = CipherMode.ECB if parent_type.is_aes else CipherMode.CBC
        parameter = DerivationParameter(parent_type, mode, os.urandom(data))
        readable = made is TokenKeyType.GENERIC_SECRET
        key: SecretKey = parent.derive_key(  # type: ignore[attr-defined] # python-pkcs11 adds what the key may do
            made,
            (data if readable else self._key_type.length) * 8,
            store=False,
            capabilities=template.capabilities,
            mechanism=parameter.mechanism,
            mechanism_param=parameter.value,
            template={**template.attributes, **({} if readable else get_length_attributes(self._key_type))},
        )
        key.key_type = made
        return key

    def _read(self, data: int) -> None:
        key = self._derive_by(self._parent, self._key_type, data, READABLE, TokenKeyType.GENERIC_SECRET)
        key[Attribute.VALUE]
        key.destroy()

    def _encrypt(self, data: int) -> None:
        block = 8 if self._key_type is DES else 16
        mechanism = Mechanism.DES3_CBC if self._key_type is DES else Mechanism.AES_CBC
        self._cipher.encrypt(bytes(data), mechanism=mechanism, mechanism_param=bytes(block))  # type: ignore[attr-defined] # as above

    def _compute_mac(self, data: int) -> None:
        if self._mac is not None:
            self._mac.sign(bytes(data), mechanism=Mechanism.AES_CMAC)  # type: ignore[attr-defined] # as above

    def _wrap(self, _data: int) -> None:
        self._dek.wrap_key(self._payload, mechanism=Mechanism.AES_CBC, mechanism_param=bytes(16))  # type: ignore[attr-defined] # as above

    def _wrap_transient(self, data: int) -> None:
        self._payload[Attribute.VALUE]
        self._dek.encrypt(bytes(data), mechanism=Mechanism.DES3_ECB)  # type: ignore[attr-defined] # as above


def _find_master(hsm_session: Session) -> SecretKey:
    wanted = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: TokenKeyType.AES, Attribute.DERIVE: True}
    found = list(hsm_session.get_objects(wanted))
    if not found or not isinstance(found[0], SecretKey):
        raise RuntimeError("the token holds no master key")
    return found[0]


def measure(job: Job) -> float:
    """CPU seconds of one rotation's calls."""
    os.environ.update(job.environment)
    token = pkcs11.lib(job.module).get_token(token_label=job.token_label)
    key_type = DES if job.needs.startswith("scp02") else AES
    with token.open(user_pin=Path(job.pin_file).read_text().strip()) as hsm_session:
        loop = BareLoop(hsm_session, key_type, transient=job.transient and key_type is DES)
        loop.run(NEEDS[job.needs])
        began = time.process_time()
        for _ in range(job.rotations):
            loop.run(NEEDS[job.needs])
        return (time.process_time() - began) / job.rotations


def build_job_text(job: Job) -> str:
    """The job as `python -m bench.needed` reads it."""
    return json.dumps(asdict(job))


if __name__ == "__main__":
    print(measure(Job(**json.load(sys.stdin))))
