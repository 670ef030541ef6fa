"""A card in a test's hand: fixed answers, a log of what reached it, and a moment at which it is pulled out."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class ScriptedCard:
    """Answers by the whole command, else `default`. `leaves_after`: commands it answers before `gone` is raised."""

    answers: Mapping[str, str] = field(default_factory=dict)
    default: str = "9000"
    leaves_after: int | None = None
    gone: Exception = field(default_factory=lambda: RuntimeError("pulled out"))
    received: list[str] = field(default_factory=list)
    resets: int = 0

    def transmit(self, command: bytes) -> bytes:
        if self.leaves_after is not None and len(self.received) >= self.leaves_after:
            raise self.gone
        self.received.append(command.hex().upper())
        prefixes = (text for text in self.answers if command.hex().upper().startswith(text))
        return bytes.fromhex(self.answers.get(next(prefixes, ""), self.default))

    def reset(self) -> None:
        self.resets += 1
