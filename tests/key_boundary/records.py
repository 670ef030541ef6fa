"""Databases and journals as they are while visits run: what is erased when a visit ends must be seen before.

Rules: of a file that was copied before only what changed is kept, in pages, each with the page before and after it, so
that nothing that lies across two pages is missed. Databases come with their write-ahead logs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.functional.site_database import SiteDatabase

PAGE = 8192


@dataclass
class Copies:
    """`taken`: when and what, and the bytes that were new then."""

    folder: Path
    databases: Mapping[str, SiteDatabase]
    taken: list[tuple[str, bytes]] = field(default_factory=list, repr=False)
    _before: dict[str, bytes] = field(default_factory=dict, repr=False)

    def take(self, moment: str) -> None:
        found = {str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*.journal")}
        for platform, database in self.databases.items():
            found |= {f"{platform}'s database/{name}": content for name, content in database.read_files()}
        for name, content in found.items():
            if new := self._keep_new(name, content):
                self.taken.append((f"{name} during {moment}", new))

    def _keep_new(self, name: str, content: bytes) -> bytes:
        before, self._before[name] = self._before.get(name, b""), content
        if content == before:
            return b""
        wanted: set[int] = set()
        for number, start in enumerate(range(0, len(content), PAGE)):
            if content[start : start + PAGE] != before[start : start + PAGE]:
                wanted.update((number - 1, number, number + 1))
        return b"".join(content[number * PAGE : (number + 1) * PAGE] for number in sorted(wanted) if number >= 0)
