"""Actions of the KEK exchange with a peer. What they carry is public or wrapped for the peer's HSM."""

from typing import Annotated, Any

from pydantic import Field

from kms.domain.key_exchange import MAX_TEXT, format_fingerprint
from kms.domain.keys import MasterKey
from kms.domain.permissions import Action
from kms.service.action_definitions.forms import Fingerprint, Name, say_bytes
from kms.service.actions import ActionDefinition, Parameters
from kms.service.exchange import ExchangeFile, ExchangeService
from kms.service.plain_values import build_record

ExchangeText = Annotated[str, Field(max_length=MAX_TEXT + 1)]  # one more: the exchange itself says that it is too long
SHOWN = ("name", "kind", "generation", "key_type", "kcv", "kcv_method", "state")


class OfferKeys(Parameters):
    """The peer that the offer is for."""

    peer: Name


class AnswerOffer(Parameters):
    """A peer's offer, and the fingerprint that people compared."""

    peer: Name
    offer: ExchangeText
    fingerprint: Fingerprint
    new_generation: bool = False
    new_peer_key: bool = False


class AcceptAnswer(Parameters):
    """A peer's answer, and the fingerprint that people compared."""

    peer: Name
    answer: ExchangeText
    fingerprint: Fingerprint
    new_peer_key: bool = False


def define_exchange(exchange: ExchangeService) -> tuple[ActionDefinition[Any], ...]:
    """The definitions of exchange.*."""
    return (
        ActionDefinition(
            Action.EXCHANGE_OFFER,
            OfferKeys,
            lambda given: f"Offer this platform's public keys to peer {given.peer}.",
            lambda given, by: build_file_record(exchange.offer(given.peer, actor=by.actor)),
        ),
        ActionDefinition(
            Action.EXCHANGE_ANSWER,
            AnswerOffer,
            _describe_answer,
            lambda given, by: build_file_record(
                exchange.answer(
                    given.peer,
                    given.offer,
                    given.fingerprint,
                    actor=by.actor,
                    renew=given.new_generation,
                    replace_key=given.new_peer_key,
                )
            ),
        ),
        ActionDefinition(
            Action.EXCHANGE_ACCEPT,
            AcceptAnswer,
            lambda given: (
                f"Take the KEK of peer {given.peer} out of the answer with the fingerprint "
                f"{say_bytes(given.fingerprint)}.{_say_pin(given.new_peer_key)}"
            ),
            lambda given, by: build_kek_record(
                exchange.accept(
                    given.peer, given.answer, given.fingerprint, actor=by.actor, replace_key=given.new_peer_key
                )
            ),
        ),
    )


def build_file_record(made: ExchangeFile) -> dict[str, object]:
    """A file to carry, its fingerprint, and the KEK that was made for it."""
    record: dict[str, object] = {"text": made.text, "fingerprint": format_fingerprint(made.fingerprint)}
    return record if made.kek is None else record | build_kek_record(made.kek)


def build_kek_record(kek: MasterKey) -> dict[str, object]:
    """What to tell of a KEK: its check value with its method, for both sides to compare."""
    record = build_record(kek)
    return {name: record[name] for name in SHOWN}


def _describe_answer(given: AnswerOffer) -> str:
    which = "the next" if given.new_generation else "the"
    return (
        f"Make {which} KEK for peer {given.peer} and hand it over, wrapped to the HSM whose offer has the fingerprint "
        f"{say_bytes(given.fingerprint)}.{_say_pin(given.new_peer_key)}"
    )


def _say_pin(new_peer_key: bool) -> str:
    return " Take another signing key of the peer than the one pinned before." if new_peer_key else ""
