"""Channel attempts: does the card in the reader still accept a key set, yes or no.

The platform's HSM derives the set's session keys; the card decides. An attempt is SELECT, INITIALIZE UPDATE under the
set's key version and, when the card answers for it, EXTERNAL AUTHENTICATE.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from kms.bootstrap import Platform
from kms.card.apdu import CommandApdu, ResponseApdu, parse_response
from kms.card.channel import ChannelParameters, SecurityLevel, open_channel, parse_initialize_update
from kms.card.commands import build_initialize_update, build_select
from kms.card.keys import KeyPort
from kms.card.programs.base import Candidate
from kms.card.status import StatusWord, describe_status
from kms.domain.cards import SecurityDomain
from kms.domain.keys import KeySet, KeyState
from kms.errors import Code, KmsError
from kms.service.card_record import load_card_record
from kms.service.key_refs import build_candidate
from terminal.card import Card


@dataclass(frozen=True)
class Attempt:
    """One attempt and its end. `current`: by the platform's records the set is in force."""

    domain: SecurityDomain
    key_set: KeySet
    current: bool
    opened: bool
    answer: str

    @property
    def as_it_should_be(self) -> bool:
        """A current set opens a channel, an old one does not."""
        return self.current == self.opened


def attempt_channels(platform: Platform, identity: bytes, card: Card) -> Iterator[Attempt]:
    """Try every key set that was ever recorded for the card, old and current."""
    with platform.store.transaction() as tx:
        enrolled = tx.cards.find_by_identity(identity)
        if enrolled is None:
            raise KmsError(Code.CARD_UNKNOWN, "the card in the reader is not enrolled")
        record = load_card_record(tx, enrolled, ())
    for key_set in record.key_sets.values():
        domain = record.domains[key_set.security_domain_id]
        candidate = build_candidate(platform.config.platform.name, record, key_set)
        level = SecurityLevel(platform.config.profiles[record.card.profile].security_level)
        parameters = ChannelParameters(record.card.scp, record.card.scp_i, level, domain.aid)
        with platform.vault.open_scope() as keys:
            opened, answer = _attempt(keys, candidate, parameters, card)
        yield Attempt(domain, key_set, key_set.state is KeyState.ACTIVE, opened, answer)


def _attempt(keys: KeyPort, candidate: Candidate, parameters: ChannelParameters, card: Card) -> tuple[bool, str]:
    selected = _transmit(card, build_select(parameters.aid))
    if selected.sw != StatusWord.OK:
        return False, f"SELECT: {describe_status(selected.sw)}"
    host_challenge = secrets.token_bytes(8)
    update = _transmit(card, build_initialize_update(candidate.ref.kvn, host_challenge))
    if update.sw != StatusWord.OK:
        return False, f"INITIALIZE UPDATE: {describe_status(update.sw)}"
    handshake = parse_initialize_update(update.data, host_challenge, parameters.scp)
    try:
        channel = open_channel(keys, candidate.ref, handshake, parameters)
    except KmsError as error:
        if error.code not in (Code.CRYPTOGRAM_MISMATCH, Code.CHALLENGE_MISMATCH):
            raise
        return False, "the card answered under other keys"
    authenticated = _transmit(card, channel.external_authenticate())
    return authenticated.sw == StatusWord.OK, f"EXTERNAL AUTHENTICATE: {describe_status(authenticated.sw)}"


def _transmit(card: Card, command: CommandApdu) -> ResponseApdu:
    return parse_response(card.transmit(command.to_bytes()))
