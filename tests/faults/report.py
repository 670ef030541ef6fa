"""What the campaign found: a table for people, JSON for machines, and a line for the end of a test run."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.campaign import POSTGRESQL, Done
from tests.faults.runs import DOUBLED, Result


@dataclass(frozen=True)
class Report:
    """`seconds`: what the runs took; `seed`: what samples were drawn with."""

    done: Sequence[Done]
    seconds: float
    seed: int

    @property
    def counted(self) -> list[Result]:
        """One result for each distinct point: what ran on PostgreSQL, too, counts once."""
        return [result for item in self.done if item.share.database != POSTGRESQL for result in item.results]

    @property
    def repeated(self) -> list[Result]:
        """Points that ran on PostgreSQL as well."""
        return [result for item in self.done if item.share.database == POSTGRESQL for result in item.results]

    @property
    def bad(self) -> list[Result]:
        """Runs after which a person would be needed."""
        return [result for result in [*self.counted, *self.repeated] if result.wrong]

    @property
    def left_out(self) -> int:
        return sum(item.share.total - len(item.results) for item in self.done if item.share.database != POSTGRESQL)

    @property
    def doubled(self) -> int:
        return sum(any(text.startswith(DOUBLED) for text in result.wrong) for result in self.bad)

    @property
    def lost(self) -> int:
        return sum(any(text.startswith("update ") for text in result.wrong) for result in self.bad)

    @property
    def most_visits(self) -> int:
        """The largest number of presentations after the first that any card took."""
        return max((result.further_visits for result in [*self.counted, *self.repeated]), default=0)

    def build_table(self) -> list[str]:
        """A line for each program, kind of boundary and fault: points, visits that they took, cards for a person."""
        lines = []
        for item in self.done:
            share = item.share
            lines += ["", f"{share.program.name} on {share.database}: {len(item.results)} of {share.total} points"]
            rows: dict[tuple[str, str], list[Result]] = {}
            for result in item.results:
                rows.setdefault((result.point.boundary.kind, result.point.fault), []).append(result)
            lines.append(f"  {'boundary':16} {'fault':38} points  at once  1 more  more  person")
            for (kind, fault), results in sorted(rows.items()):
                needed = Counter(min(result.further_visits, 2) for result in results)
                persons = sum(bool(result.wrong) for result in results)
                lines.append(
                    f"  {kind:16} {fault:38} {len(results):6} {needed[0]:8} {needed[1]:7} {needed[2]:5} {persons:7}"
                )
        return lines

    def build_summary(self) -> list[str]:
        """The answer, in a few lines."""
        points = (
            f"{len(self.counted)} distinct points, {len(self.repeated)} more runs on PostgreSQL,"
            f" {self.left_out} points left out (seed {self.seed}), {self.seconds:.0f} s"
        )
        found = (
            f"cards that need a person: {len(self.bad)}; double rotations: {self.doubled}; lost updates: {self.lost};"
            f" most visits after the cut one: {self.most_visits}"
        )
        return [points, found, *(f"  {result.point}: {'; '.join(result.wrong)}" for result in self.bad)]

    def write_json(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        shares = [
            {
                "program": item.share.program.name,
                "database": item.share.database,
                "total": item.share.total,
                "points": [
                    {
                        "boundary": str(result.point.boundary),
                        "fault": str(result.point.fault),
                        "further_visits": result.further_visits,
                        "wrong": list(result.wrong),
                    }
                    for result in item.results
                ],
            }
            for item in self.done
        ]
        document = {
            "distinct_points": len(self.counted),
            "repeated_on_postgresql": len(self.repeated),
            "left_out": self.left_out,
            "need_a_person": len(self.bad),
            "double_rotations": self.doubled,
            "lost_updates": self.lost,
            "most_further_visits": self.most_visits,
            "seconds": round(self.seconds, 1),
            "seed": self.seed,
            "shares": shares,
        }
        path.write_text(json.dumps(document, indent=1) + "\n")
