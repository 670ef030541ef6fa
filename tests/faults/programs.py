"""The programs that are cut: a rotation and the creation of an SSD, for cards of either protocol."""

from dataclasses import dataclass, field

from kms.card.keys import KeyType
from kms.card.profile import CardProfile
from terminal.virtual_card.personality import Personality
from tests.fakes.issuer import ISD_AID, SSD_AID

DEFAULT = CardProfile(name="default")
PUT_KEY = CardProfile(name="default", initial_key_route="put-key")


@dataclass(frozen=True)
class Program:
    """A visit's work. `creates`: the card's user applies, and the SSD is made; else it is there and `forced` is due.

    `kvn`: of the ISD's keys as delivered.
    """

    name: str
    scp02_i: int | None = 0x55
    scp03_i: int | None = None
    creates: bool = False
    forced: tuple[bytes, ...] = ()
    kvn: int = 0x01
    profile: CardProfile = DEFAULT
    personality: Personality = field(default_factory=Personality)

    @property
    def vendor_type(self) -> KeyType:
        return KeyType.DES2 if self.scp03_i is None else KeyType.AES128

    @property
    def challenge_length(self) -> int:
        """Bytes of a host challenge; S16 is bit 1 of SCP03's i (GPC 2.3 Amendment D 1.2 table 5-1)."""
        return 16 if self.scp03_i is not None and self.scp03_i & 0x01 else 8


KEEPS = Personality(keep_factory_set=True)

# Cut at every point; the others differ in what the card or the protocol does, and are cut at a sample.
MAIN_COUNT = 4

PROGRAMS: tuple[Program, ...] = (
    Program("SSD rotation, SCP02 i=55", forced=(SSD_AID,)),
    Program("SSD rotation, SCP03 i=70", scp02_i=None, scp03_i=0x70, forced=(SSD_AID,)),
    Program("SSD creation, SCP02 i=55", creates=True),
    Program("SSD creation, SCP03 i=70", scp02_i=None, scp03_i=0x70, creates=True),
    Program("SSD rotation, SCP02 i=15", scp02_i=0x15, forced=(SSD_AID,)),
    Program("SSD rotation, SCP03 i=71 (S16)", scp02_i=None, scp03_i=0x71, forced=(SSD_AID,)),
    Program("SSD creation by PUT KEY, SCP02 i=55", creates=True, profile=PUT_KEY),
    Program("ISD take-over from FF, SCP02 i=55", forced=(ISD_AID,), kvn=0xFF, personality=KEEPS),
    Program("ISD take-over from FF, SCP03 i=70", None, 0x70, forced=(ISD_AID,), kvn=0xFF, personality=KEEPS),
)
MAIN = PROGRAMS[:MAIN_COUNT]
