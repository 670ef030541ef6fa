"""The files that two platforms exchange so that both hold one KEK: their text, what is signed, and who checks what.

Rules: a file is one strict JSON object of a documented kind and version (docs/key-exchange.md). What is signed, and
what people compare the fingerprint of, is the canonical form of everything in it but the signature; it is built again
from what was read, so a text can be read in one way only. Nothing in it is secret; the KEK in the answer is wrapped to
the HSM that made the offer. Each check raises `exchange.refused` with its reason.
"""

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, with_config

from kms.card.keys import KcvMethod
from kms.domain.public_keys import check_signing_key, parse_transport_key
from kms.domain.signatures import check_signature
from kms.errors import Code, KmsError

MAX_TEXT = 16_384  # characters; an answer has below 2,000
FINGERPRINT_LENGTH = 32
KEK_KCV_LENGTH = 5  # by CMAC
WRAPPED_KEK_LENGTH = 384  # RSA 3072
_GROUP = 4  # digits that people compare at a time

Signed = TypeVar("Signed", "SignedOffer", "SignedAnswer")

_STRICT = ConfigDict(extra="forbid", strict=True, val_json_bytes="hex")


@with_config(_STRICT)
@dataclass(frozen=True)
class Offer:
    """A provider's public keys, for one issuer: the same each time it is made of the same keys and names."""

    provider: str
    issuer: str
    signing_key: bytes
    transport_key: bytes
    kind: Literal["kms-key-exchange-offer"] = "kms-key-exchange-offer"
    version: Literal[1] = 1


@with_config(_STRICT)
@dataclass(frozen=True)
class Answer:
    """An issuer's KEK for the provider whose offer has the fingerprint `offer`, and the issuer's signing key.

    `kek`: RSA-OAEP to the offer's transport key, 384 bytes. `kcv`: by CMAC, 5 bytes. `generation`: of the KEK, from 1.
    """

    issuer: str
    provider: str
    offer: bytes
    generation: int
    kek: bytes = field(repr=False)
    kcv: bytes
    signing_key: bytes
    kcv_method: Literal[KcvMethod.AES_CMAC] = KcvMethod.AES_CMAC
    kind: Literal["kms-key-exchange-answer"] = "kms-key-exchange-answer"
    version: Literal[1] = 1


@with_config(_STRICT)
@dataclass(frozen=True)
class SignedOffer:
    """The file that carries an offer."""

    content: Offer
    signature: bytes


@with_config(_STRICT)
@dataclass(frozen=True)
class SignedAnswer:
    """The file that carries an answer."""

    content: Answer
    signature: bytes


_OFFER: TypeAdapter[SignedOffer] = TypeAdapter(SignedOffer)
_ANSWER: TypeAdapter[SignedAnswer] = TypeAdapter(SignedAnswer)


def build_signed_bytes(content: Offer | Answer) -> bytes:
    """The canonical form: JSON with sorted names, no white space, ASCII, bytes as upper-case hex."""
    return _dump(_build_fields(content), indent=None).encode("ascii")


def compute_fingerprint(content: Offer | Answer) -> bytes:
    """SHA-256 of the canonical form, 32 bytes: it covers names and keys, and in an answer the wrapped KEK."""
    return hashlib.sha256(build_signed_bytes(content)).digest()


def format_fingerprint(fingerprint: bytes) -> str:
    """For reading aloud: 16 groups of 4 upper-case hexadecimal digits."""
    digits = fingerprint.hex().upper()
    return " ".join(digits[at : at + _GROUP] for at in range(0, len(digits), _GROUP))


def build_text(content: Offer | Answer, signature: bytes) -> str:
    """The file's text, for people to look at, too."""
    return _dump({"content": _build_fields(content), "signature": signature.hex().upper()}, indent=2) + "\n"


def parse_offer(text: str) -> Offer:
    """Read an offer's file. Raises `exchange.refused` unless it is whole, well formed and signed by its own key."""
    signed = _parse(_OFFER, text, "offer")
    _check_signed(signed.content, signed.signature)
    _check_public(parse_transport_key, signed.content.transport_key)
    return signed.content


def parse_answer(text: str) -> Answer:
    """Read an answer's file. Raises `exchange.refused` unless it is whole, well formed and signed by its own key."""
    signed = _parse(_ANSWER, text, "answer")
    content = signed.content
    _check_signed(content, signed.signature)
    lengths = (len(content.offer), len(content.kek), len(content.kcv))
    if lengths != (FINGERPRINT_LENGTH, WRAPPED_KEK_LENGTH, KEK_KCV_LENGTH) or content.generation < 1:
        raise refuse("the answer's fields have not the documented sizes")
    return content


def check_parties(content: Offer | Answer, *, provider: str, issuer: str) -> None:
    """Raise `exchange.refused` unless the file is between these two."""
    if content.provider != provider or content.issuer != issuer:
        raise refuse(
            f"the file is from another exchange: provider {content.provider}, issuer {content.issuer}, and not"
            f" provider {provider}, issuer {issuer}"
        )


def check_fingerprint(content: Offer | Answer, compared: bytes) -> None:
    """Raise `exchange.fingerprint-mismatch` unless this is the fingerprint that people compared."""
    if not hmac.compare_digest(compute_fingerprint(content), compared):
        raise KmsError(
            Code.EXCHANGE_FINGERPRINT,
            "the fingerprint given is not this file's: nothing was kept. Compare it with the one shown where the file"
            " was made, by telephone, before you go on",
        )


def refuse(why: str) -> KmsError:
    """The error for a file that is not taken."""
    return KmsError(Code.EXCHANGE_REFUSED, f"the key exchange is refused: {why}")


def _parse(adapter: TypeAdapter[Signed], text: str, what: str) -> Signed:
    if len(text) > MAX_TEXT:
        raise refuse(f"the file is too long for an {what}")
    try:
        signed = adapter.validate_json(text)
        again = json.loads(build_text(signed.content, signed.signature))
        if json.loads(text) == again:  # every field is there, written as we write it
            return signed
    except ValueError:  # pydantic's and json's errors alike; their texts would quote the file
        pass
    raise refuse(f"the file is no {what} of version 1, or was damaged")


def _check_signed(content: Offer | Answer, signature: bytes) -> None:
    # Its own key's signature proves that whoever made the file holds the key; whose key that is, people decide.
    _check_public(check_signing_key, content.signing_key)
    try:
        check_signature(content.signing_key, build_signed_bytes(content), signature)
    except KmsError:
        raise refuse("the file was changed after it was signed") from None


def _check_public(check: Callable[[bytes], object], der: bytes) -> None:
    try:
        check(der)
    except KmsError as error:
        raise refuse(error.detail) from None


def _build_fields(content: Offer | Answer) -> dict[str, str | int]:
    values = {item.name: getattr(content, item.name) for item in fields(content)}
    return {name: value.hex().upper() if isinstance(value, bytes) else value for name, value in values.items()}


def _dump(value: object, *, indent: int | None) -> str:
    separators = (",", ":") if indent is None else None
    return json.dumps(value, sort_keys=True, ensure_ascii=True, indent=indent, separators=separators)
