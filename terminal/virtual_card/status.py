"""Status words that the card answers (ISO 7816-4 section 5.6, GP231 section 11.1.3) and the errors that carry them."""

from typing import Final

SUCCESS: Final = 0x9000
MORE_DATA_AVAILABLE: Final = 0x6310  # GET STATUS: send GET STATUS [next occurrence]
AUTHENTICATION_FAILED: Final = 0x6300  # EXTERNAL AUTHENTICATE: the host cryptogram does not verify
WRONG_LENGTH: Final = 0x6700
CHANNEL_NOT_SUPPORTED: Final = 0x6881
SECURE_MESSAGING_NOT_SUPPORTED: Final = 0x6882
SECURITY_STATUS_NOT_SATISFIED: Final = 0x6982
AUTHENTICATION_BLOCKED: Final = 0x6983
CONDITIONS_NOT_SATISFIED: Final = 0x6985
WRONG_DATA: Final = 0x6A80
NOT_FOUND: Final = 0x6A82
NO_RECORD: Final = 0x6A83
NO_ROOM: Final = 0x6A84
WRONG_P1P2: Final = 0x6A86
REFERENCED_DATA_NOT_FOUND: Final = 0x6A88
INS_NOT_SUPPORTED: Final = 0x6D00
CLA_NOT_SUPPORTED: Final = 0x6E00


class CardError(Exception):
    """The command is refused with a status word; nothing was changed by it."""

    def __init__(self, sw: int) -> None:
        super().__init__(f"{sw:04X}")
        self.sw = sw


class SecureMessagingError(CardError):
    """A message broke the rules of the secure channel: the session ends with it (GP231 section 10.2.3)."""

    def __init__(self) -> None:
        # One status word for every cause, so that an answer never tells padding from MAC.
        super().__init__(SECURITY_STATUS_NOT_SATISFIED)
