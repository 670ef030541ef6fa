"""Setting up what a provider and an issuer need of each other: one KEK in both HSMs, and each other's signing keys.

Rules: three steps, two files, no secret in either but the KEK, which is wrapped to the provider's HSM. Nothing of a
file is taken before the fingerprint that people compared is the file's own. A step that was cut off is done again by
the same command. What is there already is said, not made twice: a new KEK is a new generation, asked for by name. An
answer is taken once, and never one that is older than the KEK in force.
"""

import uuid
from dataclasses import dataclass, replace

from kms.card.keys import KcvMethod, KeyType
from kms.domain.audit import AuditEvent, build_kcv_text
from kms.domain.key_exchange import (
    Answer,
    Offer,
    build_signed_bytes,
    build_text,
    check_fingerprint,
    check_parties,
    compute_fingerprint,
    parse_answer,
    parse_offer,
    refuse,
)
from kms.domain.keys import KeyState, MasterKey, MasterKind, PeerKey, PlatformKeyPurpose
from kms.domain.signatures import fingerprint
from kms.errors import Code, KmsError
from kms.service.keys import build_label, check_name
from kms.service.platform_keys import PlatformKeyService
from kms.service.ports import Clock, Identifiers, NewMaster, Store, Transaction, Vault


@dataclass(frozen=True)
class ExchangeFile:
    """A file to carry to the peer. `fingerprint`: of its content, 32 bytes, to compare. `kek`: in an answer."""

    text: str
    fingerprint: bytes
    kek: MasterKey | None = None


class ExchangeService:
    """The use cases of the key exchange. `platform`: this platform's name, which the files carry."""

    def __init__(
        self,
        *,
        store: Store,
        vault: Vault,
        clock: Clock,
        identifiers: Identifiers,
        platform_keys: PlatformKeyService,
        platform: str,
    ) -> None:
        self._store = store
        self._vault = vault
        self._clock = clock
        self._identifiers = identifiers
        self._platform_keys = platform_keys
        self._platform = platform

    def offer(self, peer: str, *, actor: str) -> ExchangeFile:
        """The provider's first step: its public keys, made now if they are not there. Harmless to repeat."""
        self._check_peer(peer)
        content = self._build_offer(peer, actor)
        signature = self._platform_keys.sign(build_signed_bytes(content))
        with self._store.transaction() as transaction:
            self._log(transaction, "key-exchange.offer", peer, actor, detail=describe(content))
        return ExchangeFile(build_text(content, signature), compute_fingerprint(content))

    def answer(
        self, peer: str, offer_text: str, compared: bytes, *, actor: str, renew: bool = False, replace_key: bool = False
    ) -> ExchangeFile:
        """The issuer's step: take the offer, make the KEK. `compared`: the fingerprint that people compared, 32 bytes.

        `renew`: make the next generation of a KEK that is there. `replace_key`: take another signing key of the peer
        than the pinned one. Raises `exchange.*`, `input.conflict`, `hsm.*`, `key.*`; nothing is kept then.
        """
        self._check_peer(peer)
        offer = parse_offer(offer_text)
        check_parties(offer, provider=peer, issuer=self._platform)
        check_fingerprint(offer, compared)
        signing = self._platform_keys.ensure(PlatformKeyPurpose.SIGNING, actor=actor)
        with self._store.transaction() as transaction:
            self._check_pinned(transaction, peer, offer.signing_key, replace_key=replace_key)
            planned = self._plan_new(transaction, peer, actor, renew=renew)
        made = self._vault.generate_kek(planned.object_id, build_label(planned), offer.transport_key)
        content = Answer(
            issuer=self._platform,
            provider=peer,
            offer=compute_fingerprint(offer),
            generation=planned.generation,
            kek=made.wrapped,
            kcv=made.master.kcv,
            signing_key=signing.public_key_der,
        )
        signature = self._platform_keys.sign(build_signed_bytes(content))
        kek = self._activate(planned, made.master, offer.signing_key, content, actor)
        return ExchangeFile(build_text(content, signature), compute_fingerprint(content), kek)

    def accept(
        self, peer: str, answer_text: str, compared: bytes, *, actor: str, replace_key: bool = False
    ) -> MasterKey:
        """The provider's second step: unwrap the KEK. Taking the same answer again changes nothing.

        Raises as `answer` does, and `key.unwrap-refused`, `key.kcv-mismatch` for a KEK that is not for this HSM.
        """
        self._check_peer(peer)
        answer = parse_answer(answer_text)
        check_parties(answer, provider=self._platform, issuer=peer)
        check_fingerprint(answer, compared)
        if answer.offer != compute_fingerprint(self._build_offer(peer, actor)):
            raise refuse(
                "the answer is not to this platform's present offer: make a new one (`kms keys exchange offer`)"
            )
        with self._store.transaction() as transaction:
            self._check_pinned(transaction, peer, answer.signing_key, replace_key=replace_key)
            newest = self._find_newest(transaction, peer)
            if newest is not None and newest.kcv and newest.generation >= answer.generation:
                return check_same(newest, answer)
            planned = self._plan_sent(transaction, newest, peer, answer.generation, actor)
        transport = self._platform_keys.ensure(PlatformKeyPurpose.TRANSPORT, actor=actor)
        made = self._vault.unwrap_kek(
            planned.object_id, build_label(planned), transport.object_id, answer.kek, expected_kcv=answer.kcv
        )
        return self._activate(planned, made, answer.signing_key, answer, actor)

    def _build_offer(self, peer: str, actor: str) -> Offer:
        signing = self._platform_keys.ensure(PlatformKeyPurpose.SIGNING, actor=actor)
        transport = self._platform_keys.ensure(PlatformKeyPurpose.TRANSPORT, actor=actor)
        return Offer(self._platform, peer, signing.public_key_der, transport.public_key_der)

    def _check_peer(self, peer: str) -> None:
        check_name(peer)
        if peer == self._platform:
            raise KmsError(Code.INPUT_INVALID, "a platform exchanges no keys with itself: name the peer")

    @staticmethod
    def _check_pinned(transaction: Transaction, peer: str, signing_key: bytes, *, replace_key: bool) -> None:
        pinned = transaction.peer_keys.find_active(peer)
        if pinned is not None and pinned.public_key_der != signing_key and not replace_key:
            raise refuse(
                f"another signing key of {peer} is pinned since {pinned.pinned_at:%Y-%m-%d} (fingerprint"
                f" {fingerprint(pinned.public_key_der)}); if {peer} says that it has a new one, use --new-peer-key"
            )

    @staticmethod
    def _find_newest(transaction: Transaction, peer: str) -> MasterKey | None:
        newest = transaction.master_keys.find_by_name(peer)
        if newest is not None and newest.kind is not MasterKind.PEER_KEK:
            raise KmsError(
                Code.CONFLICT, f"the name {peer!r} belongs to a {newest.kind} key; a KEK has its peer's name"
            )
        return newest

    def _plan_new(self, transaction: Transaction, peer: str, actor: str, *, renew: bool) -> MasterKey:
        newest = self._find_newest(transaction, peer)
        if newest is not None and not newest.kcv:
            # What was cut off may have left a KEK under the old object id, whose wrapped form is lost with it.
            return self._save(transaction, replace(newest, object_id=uuid.UUID(self._identifiers.new()).bytes))
        if newest is not None and not renew:
            raise KmsError(
                Code.CONFLICT,
                f"a KEK for {peer} exists already (generation {newest.generation}, check value"
                f" {newest.kcv.hex().upper()}); if its answer was lost, make the next one with --new-generation",
            )
        return self._plan(transaction, peer, newest.generation + 1 if newest is not None else 1, actor)

    def _plan_sent(
        self, transaction: Transaction, newest: MasterKey | None, peer: str, generation: int, actor: str
    ) -> MasterKey:
        if newest is None or newest.kcv:
            return self._plan(transaction, peer, generation, actor)
        if newest.generation == generation:
            return newest
        object_id = uuid.UUID(self._identifiers.new()).bytes
        return self._save(transaction, replace(newest, generation=generation, object_id=object_id))

    @staticmethod
    def _save(transaction: Transaction, changed: MasterKey) -> MasterKey:
        transaction.master_keys.save(changed)
        return changed

    def _plan(self, transaction: Transaction, peer: str, generation: int, actor: str) -> MasterKey:
        key_id = self._identifiers.new()
        planned = MasterKey(
            id=key_id,
            name=peer,
            kind=MasterKind.PEER_KEK,
            generation=generation,
            key_type=KeyType.AES256,
            object_id=uuid.UUID(key_id).bytes,
            kcv=b"",
            kcv_method=KcvMethod.AES_CMAC,
            state=KeyState.PRE_ACTIVATION,
            created_at=self._clock.now(),
        )
        transaction.master_keys.add(planned)
        self._log(transaction, "key-exchange.plan", peer, actor, detail=f"KEK generation {generation}")
        return planned

    def _activate(self, planned: MasterKey, made: NewMaster, peer_key: bytes, answer: Answer, actor: str) -> MasterKey:
        now = self._clock.now()
        active = replace(planned, kcv=made.kcv, kcv_method=made.kcv_method, state=KeyState.ACTIVE, activated_at=now)
        attributes = " ".join(f"{name}={value}" for name, value in made.attributes)
        with self._store.transaction() as transaction:
            stored = transaction.master_keys.get(planned.id)
            if stored.state is not KeyState.PRE_ACTIVATION or stored.object_id != planned.object_id:
                raise KmsError(Code.CONFLICT, f"another run has made the KEK for {planned.name} meanwhile")
            transaction.master_keys.save(active)
            self._pin(transaction, planned.name, peer_key)
            action = "key-exchange.answer" if answer.issuer == self._platform else "key-exchange.accept"
            detail = f"{describe(answer)} {attributes}"
            self._log(transaction, action, planned.name, actor, key=active, detail=detail)
        return active

    def _pin(self, transaction: Transaction, peer: str, public_key_der: bytes) -> None:
        pinned = transaction.peer_keys.find_active(peer)
        if pinned is not None and pinned.public_key_der == public_key_der:
            return
        if pinned is not None:
            transaction.peer_keys.save(replace(pinned, state=KeyState.DEACTIVATED))
        new = PeerKey(self._identifiers.new(), peer, public_key_der, KeyState.ACTIVE, self._clock.now())
        transaction.peer_keys.add(new)

    def _log(
        self, transaction: Transaction, action: str, peer: str, actor: str, *, key: MasterKey | None = None, detail: str
    ) -> None:
        event = AuditEvent(
            id=self._identifiers.new(),
            at=self._clock.now(),
            actor=actor,
            action=action,
            subject=f"peer {peer}",
            result="done",
            kcv=build_kcv_text(key.kcv_method, [key.kcv]) if key is not None else "",
            detail=f"KEK generation {key.generation}, {detail}" if key is not None else detail,
        )
        transaction.audit.append(event)


def check_same(kek: MasterKey, answer: Answer) -> MasterKey:
    """The KEK that this answer brought before. Raises `exchange.refused` for an answer older than the KEK in force."""
    if kek.generation != answer.generation or kek.kcv != answer.kcv:
        raise refuse(
            f"the answer's KEK (generation {answer.generation}) is not newer than the one in force (generation"
            f" {kek.generation}): it is an old answer, or one from another exchange"
        )
    return kek


def describe(content: Offer | Answer) -> str:
    """The line of the audit log: which file, and by whose signing key."""
    return f"{content.kind} {compute_fingerprint(content).hex().upper()} signed by {fingerprint(content.signing_key)}"
