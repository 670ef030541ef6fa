"""A GlobalPlatform card in software, for development, tests and demonstrations.

Written from the specification without using the server's card core, so that the two cannot share a mistake. The card
itself (`VirtualCard`) does no I/O: bytes in, bytes out, and a state made of plain values. `state_file` keeps that
state across restarts and `vpcd` puts the card into a virtual PC/SC reader; no other module touches file or socket.
"""

from terminal.virtual_card.card import VirtualCard
from terminal.virtual_card.model import KEY_TYPE_AES, KEY_TYPE_DES, CardState, KeySet, SecurityDomain, StaticKey
from terminal.virtual_card.personality import AesKeyForm, Personality, build_factory_state
from terminal.virtual_card.vpcd import VpcdConnection, VpcdError

__all__ = [
    "KEY_TYPE_AES",
    "KEY_TYPE_DES",
    "AesKeyForm",
    "CardState",
    "KeySet",
    "Personality",
    "SecurityDomain",
    "StaticKey",
    "VirtualCard",
    "VpcdConnection",
    "VpcdError",
    "build_factory_state",
]
