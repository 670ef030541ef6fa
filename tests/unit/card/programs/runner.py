"""Runs programs on a virtual card without any service: state to JSON and back at every step, as a visit does."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from kms.card.channel import ChannelParameters, Handshake, SecurityLevel
from kms.card.keys import DerivationPurpose, DerivedKeys, Diversification, KeySetRef, KeyType, VendorKeys
from kms.card.programs.base import Batch, Candidate, Evidence, Outcome
from kms.card.programs.create_ssd import CreateSsd, SsdRecipe
from kms.card.programs.state import ProgramState, advance, dump_state, load_state, start
from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.diversification import Diversification as CardDiversification
from terminal.virtual_card.diversification import derive_card_keys
from terminal.virtual_card.model import KEY_TYPE_AES
from terminal.virtual_card.personality import DEFAULT_KDD, PUBLIC_TEST_KEY, Personality, build_factory_state
from tests.fakes.software_keys import open_software_scope, software_master

ISD_AID = bytes.fromhex("A000000151000000")
SSD_AID = bytes.fromhex("A0000009510001")
VENDOR = software_master(b"vendor".ljust(16, b"."), PUBLIC_TEST_KEY, KeyType.DES2)
MASTER = software_master(b"ours".ljust(16, b"."), bytes([0x33]) * 32, KeyType.AES256)
AES_VENDORS = {
    length: software_master(b"vendor-%d" % length, bytes(range(0x80, 0x80 + length)), key_type)
    for length, key_type in ((16, KeyType.AES128), (24, KeyType.AES192), (32, KeyType.AES256))
}
MASTERS = {
    VENDOR.object_id: PUBLIC_TEST_KEY,
    MASTER.object_id: bytes([0x33]) * 32,
    **{master.object_id: bytes(range(0x80, 0x80 + length)) for length, master in AES_VENDORS.items()},
}
CHALLENGE = bytes(range(16))

Answers = Callable[[Batch, list[bytes]], list[bytes]]


def honest(_batch: Batch, answers: list[bytes]) -> list[bytes]:
    return answers


def vendor_set(kvn: int = 0x01) -> Candidate:
    return Candidate("vendor", KeySetRef(kvn, KeyType.DES2, VendorKeys(VENDOR, Diversification.NONE, bytes(10))))


def aes_vendor_set(length: int = 16, kvn: int = 0x01) -> Candidate:
    master = AES_VENDORS[length]
    return Candidate("vendor", KeySetRef(kvn, master.key_type, VendorKeys(master, Diversification.KDF3, DEFAULT_KDD)))


def our_set(
    generation: int,
    purpose: DerivationPurpose = DerivationPurpose.ISD,
    aid: bytes = ISD_AID,
    key_type: KeyType = KeyType.DES2,
) -> Candidate:
    source = DerivedKeys(MASTER, "issuer", purpose, b"\x49" * 8, aid, generation)
    kvn = (0x30 if key_type.is_aes else 0x20) + generation
    return Candidate(f"{purpose} {generation}", KeySetRef(kvn, key_type, source))


def initial_set(key_type: KeyType = KeyType.DES2) -> Candidate:
    return our_set(0, DerivationPurpose.SSD_INITIAL, SSD_AID, key_type)


def parameters(aid: bytes = ISD_AID, scp_i: int = 0x55, level: int = 3) -> ChannelParameters:
    return ChannelParameters(2, scp_i, SecurityLevel(level), aid)


def scp03_parameters(aid: bytes = ISD_AID, scp_i: int = 0x70, level: int = 0x33) -> ChannelParameters:
    return ChannelParameters(3, scp_i, SecurityLevel(level), aid)


def build_aes_card(
    length: int = 16, scp_i: int = 0x70, kvn: int = 0x01, personality: Personality | None = None
) -> VirtualCard:
    """A card whose keys the vendor diversified by KDF3 from the AES master of this length."""
    keys = derive_card_keys(bytes(range(0x80, 0x80 + length)), DEFAULT_KDD, CardDiversification.KDF3)
    state = build_factory_state(keys, kvn=kvn, key_type=KEY_TYPE_AES, scp02_i=None, scp03_i=scp_i)
    return VirtualCard(state, personality)


def build_card(kvn: int = 0x01, scp_i: int = 0x55, personality: Personality | None = None) -> VirtualCard:
    return VirtualCard(build_factory_state(kvn=kvn, scp02_i=scp_i), personality)


def create_ssd(route: str = "store-data", *, resume: bool = False, set_personalized: bool = False) -> CreateSsd:
    recipe = SsdRecipe(
        aid=SSD_AID,
        load_file_aid=bytes.fromhex("A0000001515350"),
        module_aid=bytes.fromhex("A000000151535041"),
        privileges=b"\x80",
        install_parameters=bytes.fromhex("C900"),
        route=route,  # type: ignore[arg-type] # one of the two
        set_personalized=set_personalized,
    )
    return CreateSsd(parameters(), recipe, vendor_set(), initial_set(), resume=resume)


def kvns(card: VirtualCard, aid: bytes = ISD_AID) -> list[int]:
    domain = card.state.find_domain(aid)
    return [key_set.kvn for key_set in domain.key_sets] if domain else []


@dataclass
class Run:
    """What a program did. `outcome`: None when it was stopped by `batches`; `calls`: of the key port, by name."""

    outcome: Outcome | None = None
    batches: list[Batch] = field(default_factory=list)
    states: list[ProgramState] = field(default_factory=list)
    proved: list[Evidence] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)

    @property
    def instructions(self) -> list[list[str]]:
        return [[f"{command[1]:02X}" for command in batch.commands] for batch in self.batches]


def run(
    state: ProgramState, card: VirtualCard, *, lie: Answers = honest, handshake: Handshake | None = None, most: int = 9
) -> Run:
    """Run a program, each step in a key scope of its own, until its outcome or `most` batches."""
    done = Run()
    with open_software_scope(MASTERS) as keys:
        step = start(state, keys, CHALLENGE, handshake)
        done.calls.update(keys.calls)
    while step.outcome is None and len(done.batches) < most:
        assert step.state is not None
        assert step.batch is not None
        saved = load_state(dump_state(step.state))
        assert saved == step.state
        done.states.append(saved)
        done.batches.append(step.batch)
        done.proved += step.proved
        answers = lie(step.batch, [card.transmit(command) for command in step.batch.commands])
        with open_software_scope(MASTERS) as keys:
            step = advance(saved, answers, keys, bytes([len(done.batches)]) * 16)
            done.calls.update(keys.calls)
    done.outcome = step.outcome
    done.proved += step.proved if step.outcome is not None else ()
    return done


def answer(ins: int, value: bytes) -> Answers:
    """Lie about the answers to one instruction."""
    return lambda batch, answers: [
        value if command[1] == ins else said for command, said in zip(batch.commands, answers, strict=True)
    ]
