"""The HSM's lasting objects held against the record: what should be there, and what was found."""

from dataclasses import dataclass

from kms.card.keys import MasterRef
from kms.domain.keys import PlatformKeyPurpose
from kms.errors import Code


@dataclass(frozen=True)
class ExpectedObject:
    """A key on record that the HSM should hold. `name`: for people. One of `master` and `pair` once it is made.

    `pair`: what the key pair is for, and its public half (DER).
    """

    name: str
    object_id: bytes
    master: MasterRef | None = None
    pair: tuple[PlatformKeyPurpose, bytes] | None = None

    @property
    def is_made(self) -> bool:
        """Whether it must be there; one that is planned may be, when its making was cut off."""
        return self.master is not None or self.pair is not None


@dataclass(frozen=True)
class ObjectFinding:
    """What the HSM says of an expected key. `code`: None when it is as it was made, else `key.*`, with its text."""

    name: str
    object_id: bytes
    code: Code | None
    text: str


@dataclass(frozen=True)
class UnexpectedObject:
    """An object in the HSM that is on nobody's record.

    `dangerous`: it could both wrap a key and open what it wrapped.
    """

    object_id: bytes
    label: str
    kind: str
    dangerous: bool


@dataclass(frozen=True)
class ObjectReport:
    """The token's lasting objects held against the record."""

    findings: tuple[ObjectFinding, ...]
    unexpected: tuple[UnexpectedObject, ...]
