"""One opened token: its session, what probing found, and the masters looked up so far. Dies as a whole."""

from dataclasses import dataclass, field

from pkcs11 import Attribute, Key, SecretKey, Session, Token

from kms.card.keys import KcvMethod, KeyType
from kms.errors import Code, KmsError
from kms.hsm.lasting import LastingTraits, find_traits
from kms.hsm.templates import MasterUse, Template
from kms.hsm.wrapping import WrapPlan


@dataclass
class LoadedMaster:
    """A master that was found, with its attributes checked. `check_values`: those asked for so far, by method.

    `use`: what its attributes let it do. `checked_at`: when its attributes were compared, monotonic seconds.
    `k1`: the CMAC subkey of an AES master, 16 bytes, once a derivation needed it.
    """

    object_id: bytes
    key_type: KeyType
    secret: SecretKey = field(repr=False)
    check_values: dict[KcvMethod, bytes] = field(default_factory=dict)
    k1: bytes | None = field(default=None, repr=False)
    use: MasterUse = MasterUse.DERIVE
    checked_at: float = 0.0


@dataclass
class Connection:
    """An opened and logged-in token. `generation` counts connections; `opened_at`: monotonic seconds.

    `masters`: looked up in this connection, by object id. `checked_templates`: names of session templates whose
    attributes were read back in this connection.
    """

    generation: int
    epoch: int
    opened_at: float
    token: Token
    hsm_session: Session = field(repr=False)
    mechanisms: tuple[str, ...]
    missing_mechanisms: tuple[str, ...]
    plan: WrapPlan
    missing_peer_mechanisms: tuple[str, ...] = ()
    masters: dict[bytes, LoadedMaster] = field(default_factory=dict)
    checked_templates: set[str] = field(default_factory=set)
    _traits: LastingTraits | None = None

    @property
    def traits(self) -> LastingTraits:
        """What the token keeps of lasting objects, found out once; makes and destroys an object the first time."""
        if self._traits is None:
            self._traits = find_traits(self.token, self.hsm_session)
        return self._traits

    def fit(self, template: Template) -> Template:
        """The template of a lasting object without what this token does not keep. See `traits`."""
        return self.traits.fit(template)

    def is_made_here(self, key: Key) -> bool:
        """Whether the token says that it generated this key itself. One or two calls where it marks what it made."""
        never_read = (Attribute.ALWAYS_SENSITIVE, Attribute.NEVER_EXTRACTABLE)
        found = key.get_attributes([Attribute.LOCAL, *never_read])
        if found.get(Attribute.LOCAL) is True:
            return True
        return not self.traits.marks_local and all(found.get(name) is True for name in never_read)

    def check_mechanisms(self) -> None:
        """Raise `hsm.mechanism` when the token lacks a mechanism that this product needs."""
        if self.missing_mechanisms:
            raise KmsError(
                Code.HSM_MECHANISM,
                f"the HSM lacks {', '.join(self.missing_mechanisms)}; switch them on or use another token",
            )

    def check_peer_mechanisms(self) -> None:
        """Raise `hsm.mechanism` when the token lacks a mechanism that keys for and from a peer need."""
        self.check_mechanisms()
        if self.missing_peer_mechanisms:
            raise KmsError(
                Code.HSM_MECHANISM,
                f"the HSM lacks {', '.join(self.missing_peer_mechanisms)}, so it cannot exchange keys with a peer;"
                " switch them on or use another token",
            )

    def check_alive(self) -> None:
        """Make calls that fail when the token is gone, or was gone: PKCS11Error. Two or three calls.

        Token information answers for the present; a master's attribute for what happened in between, for a token that
        came back no longer knows the old handles.
        """
        self.token.slot.get_token()
        for master in self.masters.values():
            master.secret.get_attributes([Attribute.ID])
            return
