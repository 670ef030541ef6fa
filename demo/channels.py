"""Channel attempts: does the card in the reader still accept a key set, yes or no.

The platform's HSM derives the set's session keys; the card decides. An attempt is SELECT, INITIALIZE UPDATE under the
set's key version and, when the card answers for it, EXTERNAL AUTHENTICATE.
"""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kms.bootstrap import Platform
from kms.card.apdu import CommandApdu, ResponseApdu, parse_response
from kms.card.channel import (
    ChannelParameters,
    get_host_challenge_length,
    open_channel,
    parse_initialize_update,
)
from kms.card.commands import (
    DataTag,
    build_get_data,
    build_initialize_update,
    build_select,
    parse_key_information,
)
from kms.card.keys import DerivationPurpose, DerivedKeys, KeyPort, KeySetRef
from kms.card.status import StatusWord, describe_status
from kms.domain.cards import DomainState, SecurityDomain, get_scp
from kms.domain.keys import KeySet, KeyState, MasterKind
from kms.errors import Code, KmsError
from kms.service.card_record import CardRecord, load_card_record
from kms.service.key_refs import build_candidate, build_master_ref
from kms.service.plan import find_level
from terminal.card import Card


@dataclass(frozen=True)
class Attempt:
    """One attempt of a platform and its end. `current`: by that platform's records the set is in force."""

    platform: str
    domain: SecurityDomain
    kvn: int
    made_for: str
    current: bool
    opened: bool
    answer: str

    @property
    def as_it_should_be(self) -> bool:
        """A current set opens a channel, an old one or one that is not the platform's own does not."""
        return self.current == self.opened


def attempt_channels(platform: Platform, identity: bytes, card: Card) -> Iterator[Attempt]:
    """Try every key set that the platform ever recorded for the card, old and current.

    For a security domain that it handed over: the keys, too, that its own HSM would derive for the version in force.
    """
    name = platform.config.platform.name
    with platform.store.transaction() as tx:
        enrolled = tx.cards.find_by_identity(identity)
        if enrolled is None:
            raise KmsError(Code.CARD_UNKNOWN, "the card in the reader is not enrolled")
        record = load_card_record(tx, enrolled, ())
    profile = platform.config.profiles[enrolled.profile]
    for key_set in record.key_sets.values():
        domain = record.domains[key_set.security_domain_id]
        scp = get_scp(key_set.key_type)
        i = enrolled.get_i(scp)
        parameters = ChannelParameters(scp, i, find_level(profile, scp, i), domain.aid)
        made_for = str(key_set.purpose or "vendor")
        current = key_set.state is KeyState.ACTIVE
        try:
            ref = build_candidate(name, record, key_set).ref
        except KmsError as error:
            if error.code not in (Code.KEY_MISSING, Code.KEY_STATE):
                raise
            yield Attempt(name, domain, key_set.kvn, made_for, current, opened=False, answer=error.detail)
            continue
        with platform.vault.open_scope() as keys:
            opened, answer = _attempt(keys, ref, parameters, card)
        yield Attempt(name, domain, key_set.kvn, made_for, current, opened, answer)
        if domain.state is DomainState.HANDED_OVER:
            for guess in _guess(name, record, domain, key_set, _read_versions(card, domain.aid)):
                with platform.vault.open_scope() as keys:
                    opened, answer = _attempt(keys, guess, parameters, card)
                yield Attempt(name, domain, guess.kvn, "a guess at ssd", current=False, opened=opened, answer=answer)


def _guess(
    platform: str, record: CardRecord, domain: SecurityDomain, initial: KeySet, versions: Sequence[int]
) -> Iterator[KeySetRef]:
    """What this platform would derive for the versions in a handed-over domain, were it still its own."""
    master = build_master_ref(record.get_active_master(MasterKind.SSD))
    for kvn in versions:
        generation = initial.generation + kvn - initial.kvn
        source = DerivedKeys(master, platform, DerivationPurpose.SSD, record.card.identity, domain.aid, generation)
        yield KeySetRef(kvn, initial.key_type, source)


def _read_versions(card: Card, aid: bytes) -> list[int]:
    """The key versions that the card says are in a security domain."""
    _transmit(card, build_select(aid))
    shown = _transmit(card, build_get_data(DataTag.KEY_INFORMATION))
    return sorted({entry.kvn for entry in parse_key_information(shown.data)}) if shown.sw == StatusWord.OK else []


def _attempt(keys: KeyPort, ref: KeySetRef, parameters: ChannelParameters, card: Card) -> tuple[bool, str]:
    selected = _transmit(card, build_select(parameters.aid))
    if selected.sw != StatusWord.OK:
        return False, f"SELECT: {describe_status(selected.sw)}"
    host_challenge = secrets.token_bytes(get_host_challenge_length(parameters))
    update = _transmit(card, build_initialize_update(ref.kvn, host_challenge))
    if update.sw != StatusWord.OK:
        return False, f"INITIALIZE UPDATE: {describe_status(update.sw)}"
    handshake = parse_initialize_update(update.data, host_challenge, parameters.scp)
    try:
        channel = open_channel(keys, ref, handshake, parameters)
    except KmsError as error:
        if error.code not in (Code.CRYPTOGRAM_MISMATCH, Code.CHALLENGE_MISMATCH):
            raise
        return False, "the card answered under other keys"
    authenticated = _transmit(card, channel.external_authenticate())
    return authenticated.sw == StatusWord.OK, f"EXTERNAL AUTHENTICATE: {describe_status(authenticated.sw)}"


def _transmit(card: Card, command: CommandApdu) -> ResponseApdu:
    return parse_response(card.transmit(command.to_bytes()))
