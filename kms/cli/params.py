"""Types of command line parameters."""

import click

from kms.domain.terminal_limits import CardSpan, build_span
from kms.errors import Code, KmsError


class HexType(click.ParamType[bytes]):
    """Bytes written as hex, `shortest` to `longest` of them; spaces and colons between bytes are taken."""

    name = "hex"

    def __init__(self, shortest: int, longest: int) -> None:
        self.shortest = shortest
        self.longest = longest

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Parse; a fault is one of usage."""
        if isinstance(value, bytes):
            return value
        try:
            parsed = bytes.fromhex(str(value).replace(":", ""))
        except ValueError:
            self.fail("is not hex.", param, ctx)
        if not self.shortest <= len(parsed) <= self.longest:
            size = str(self.shortest) if self.shortest == self.longest else f"{self.shortest} to {self.longest}"
            self.fail(f"has {len(parsed)} bytes; {size} are needed.", param, ctx)
        return parsed


class FilledType(click.ParamType[str]):
    """Text that says something: not empty, and not blanks alone."""

    name = "text"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take the text without the blanks around it; a fault is one of usage."""
        text = str(value).strip()
        if not text:
            self.fail("must not be empty.", param, ctx)
        return text


class CardSpanType(click.ParamType[CardSpan]):
    """A range of card identities, `FROM-TO` in hex."""

    name = "from-to"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> CardSpan:
        """Parse; a fault is one of usage."""
        if isinstance(value, CardSpan):
            return value
        first, _, last = str(value).partition("-")
        try:
            return build_span(bytes.fromhex(first), bytes.fromhex(last))
        except ValueError:
            self.fail("is not hex.", param, ctx)
        except KmsError as error:
            self.fail(error.detail, param, ctx)


FILLED = FilledType()
CARD_SPAN = CardSpanType()
IDENTITY = HexType(1, 32)
AID = HexType(5, 16)
FINGERPRINT = HexType(32, 32)
MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])  # UTC


def build_unknown_card() -> KmsError:
    """The error for an identity that is not enrolled."""
    return KmsError(Code.CARD_UNKNOWN, "No card with this identity is enrolled: `kms cards list`.")
