"""An anchor in memory: what stands outside the database, in a test's hand."""

from kms.domain.recovery import AnchorMark


class MemoryAnchor:
    def __init__(self, mark: AnchorMark | None = None) -> None:
        self.mark = mark

    def read(self) -> AnchorMark | None:
        return self.mark

    def write(self, mark: AnchorMark) -> None:
        self.mark = mark
