"""Card profiles: what products do differently where the specifications leave it open. Data only, no behaviour.

Rules: a profile is one TOML file in config/card_profiles, named as its file. The TOML keys are the field names; byte
strings are written as hexadecimal text, numbers as TOML integers (`0x20`). Fields without a default must be there.
"""

from dataclasses import dataclass

from kms.card.keys import KeyType
from kms.errors import Code, Fault, KmsError

INITIAL_KEY_ROUTES = ("store-data", "put-key")
AES_BLOCK_FORMS = ("long", "short")
GENERATIONS_PER_RANGE = 16
SCP03_LEVELS = (0x01, 0x03, 0x11, 0x13, 0x33)


@dataclass(frozen=True)
class CardProfile:
    """How to talk to one card product. Raises `config.invalid` with all faults.

    `initial_key_route`: how an SSD gets its initial keys: "store-data" = INSTALL [for personalization] and STORE DATA
    through the ISD (GP 2.3.1 section 7.3.2), "put-key" = PUT KEY on the SSD under the parent's keys.
    `ssd_load_file_aid`, `ssd_module_aid`: what an SSD is made from, 5-16 bytes each. `ssd_install_parameters`: the
    whole install parameters field, C9 included. `aes_block_form`: key data block of PUT KEY with ("long", Amendment D
    table 7-10) or without ("short", GP 2.3.1 table 11-71) the inner length byte. `kvn_start_scp02`, `kvn_start_scp03`:
    first of the 16 key versions that generations cycle through. `delete_key_by_kvn`: one DELETE naming the key version
    deletes the set; else one DELETE per key. `security_level`: 1 or 3, C-MAC without or with C-DECRYPTION; `r_mac`: ask
    for response protection where the card's "i" offers it. `max_command_data`: most plain bytes in one STORE DATA (239
    leaves 8 for a MAC and 8 for padding). `set_status_personalized`: send SET STATUS 0F after the keys.
    `scp03_level`: the level of SCP03 channels, 01, 03, 11, 13 or 33, less what the card's "i" does not offer.
    `isd_key_type`: of the issuer's own ISD keys (None: as the vendor's); `ssd_key_type`: of SSD keys, whatever the
    catalogue says (None: as the catalogue says). AES types only go to cards that speak SCP03.
    """

    name: str
    initial_key_route: str = "store-data"
    ssd_load_file_aid: bytes = bytes.fromhex("A0000001515350")
    ssd_module_aid: bytes = bytes.fromhex("A000000151535041")
    ssd_install_parameters: bytes = bytes.fromhex("C900")
    aes_block_form: str = "long"
    kvn_start_scp02: int = 0x20
    kvn_start_scp03: int = 0x30
    delete_key_by_kvn: bool = True
    security_level: int = 3
    r_mac: bool = False
    max_command_data: int = 239
    set_status_personalized: bool = False
    scp03_level: int = 0x33
    isd_key_type: KeyType | None = None
    ssd_key_type: KeyType | None = None

    def __post_init__(self) -> None:
        last_start = 0x7F - (GENERATIONS_PER_RANGE - 1)
        # 255 less the C-MAC, and with C-DECRYPTION less the padding to whole blocks (GP 2.3.1 section E.4.6).
        most = 239 if self.security_level == 3 else 247
        rules = {
            "name": (bool(self.name), "is empty"),
            "initial_key_route": (self.initial_key_route in INITIAL_KEY_ROUTES, "is neither store-data nor put-key"),
            "ssd_load_file_aid": (5 <= len(self.ssd_load_file_aid) <= 16, "is not 5-16 bytes long"),
            "ssd_module_aid": (5 <= len(self.ssd_module_aid) <= 16, "is not 5-16 bytes long"),
            "ssd_install_parameters": (1 < len(self.ssd_install_parameters) < 128, "is not 2-127 bytes long"),
            "aes_block_form": (self.aes_block_form in AES_BLOCK_FORMS, "is neither long nor short"),
            "kvn_start_scp02": (1 <= self.kvn_start_scp02 <= last_start, "leaves no 16 key versions in 01-7F"),
            "kvn_start_scp03": (1 <= self.kvn_start_scp03 <= last_start, "leaves no 16 key versions in 01-7F"),
            "security_level": (self.security_level in (1, 3), "is neither 1 nor 3"),
            "scp03_level": (self.scp03_level in SCP03_LEVELS, "is none of 0x01, 0x03, 0x11, 0x13, 0x33"),
            "isd_key_type": (self.isd_key_type is not KeyType.DES3, "is DES3: cards hold DES2 or AES keys"),
            "ssd_key_type": (self.ssd_key_type is not KeyType.DES3, "is DES3: cards hold DES2 or AES keys"),
            "max_command_data": (32 <= self.max_command_data <= most, f"is not 32-{most}"),
        }
        faults = tuple(Fault(name, what) for name, (holds, what) in rules.items() if not holds)
        if faults:
            listed = ", ".join(f"{fault.where} {fault.what}" for fault in faults)
            raise KmsError(Code.CONFIG_INVALID, f"card profile {self.name or '?'}: {listed}", faults=faults)

    def get_kvn(self, scp: int, generation: int) -> int:
        """Get the key version number of a derivation generation: range start plus generation modulo 16.

        `scp`: 2 or 3; `generation`: 0 or more. Raises `config.invalid`.
        """
        starts = {2: self.kvn_start_scp02, 3: self.kvn_start_scp03}
        if scp not in starts or generation < 0:
            raise KmsError(Code.CONFIG_INVALID, f"no key version for SCP{scp:02d}, generation {generation}")
        return starts[scp] + generation % GENERATIONS_PER_RANGE
