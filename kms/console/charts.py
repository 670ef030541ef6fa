"""Bar charts as plain geometry: templates draw them as SVG, with the same numbers in a table beside.

Rules: a chart is for eyes, its table for everybody: both come from the same values. Colours are classes of the
stylesheet, so that light, dark and print each have their own, and no bar is told apart by colour alone: series stand in
the table by name and in the order in which they are stacked.
"""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 520, 200
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 12, 28
GAP = 0.28  # of a bar's place
STEPS = (1, 2, 5)
SHORT = 4  # characters of a label that stands below every bar


@dataclass(frozen=True)
class Series:
    """Values with a name and a tone of the stylesheet."""

    name: str
    tone: str
    values: Sequence[int]


@dataclass(frozen=True)
class Bar:
    """A rectangle, in user units. `title`: what it says when it is pointed at."""

    x: float
    y: float
    width: float
    height: float
    tone: str
    title: str


@dataclass(frozen=True)
class Tick:
    """A line of the scale with its label, or a label below a bar."""

    at: float
    label: str


@dataclass(frozen=True)
class BarChart:
    """A chart of stacked bars, ready to be drawn. `rows`: the table, a row a label."""

    title: str
    description: str
    bars: tuple[Bar, ...]
    scale: tuple[Tick, ...]
    names: tuple[Tick, ...]
    series: tuple[Series, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    base: int = HEIGHT - BOTTOM

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.bars


def build_bars(*, title: str, labels: Sequence[str], series: Sequence[Series]) -> BarChart:
    """Make a chart of one bar a label, with the series stacked from the bottom up."""
    rows = tuple((label, tuple(item.values[at] for item in series)) for at, label in enumerate(labels))
    totals = [sum(values) for _, values in rows]
    top = find_top(max(totals, default=0))
    unit = (HEIGHT - TOP - BOTTOM) / top
    place = (WIDTH - LEFT - RIGHT) / max(1, len(labels))
    bars: list[Bar] = []
    for at, (label, values) in enumerate(rows):
        y = float(HEIGHT - BOTTOM)
        for item, value in zip(series, values, strict=True):
            if value:
                y -= value * unit
                x, width = LEFT + place * (at + GAP / 2), place * (1 - GAP)
                bars.append(
                    Bar(
                        _round(x),
                        _round(y),
                        _round(width),
                        _round(value * unit),
                        item.tone,
                        f"{label}: {value} {item.name}",
                    )
                )
    every = 2 if max(map(len, labels), default=0) > SHORT else 1  # longer labels would run into each other
    last = len(labels) - 1
    names = tuple(
        Tick(_round(LEFT + place * (at + 0.5)), label) for at, label in enumerate(labels) if (last - at) % every == 0
    )
    scale = tuple(Tick(_round(HEIGHT - BOTTOM - value * unit), str(value)) for value in _list_steps(top))
    return BarChart(title, _describe(rows, series, totals), tuple(bars), scale, names, tuple(series), rows)


def find_top(highest: int) -> int:
    """The end of the scale: the first of 1, 2, 5, 10, 20 … that is not below the highest bar, and 4 at least."""
    size = 1
    while True:
        for step in STEPS:
            if step * size >= max(highest, 4):
                return step * size
        size *= 10


def _list_steps(top: int) -> Sequence[int]:
    parts = 5 if top % 5 == 0 else 4
    return [top * part // parts for part in range(parts + 1)]


def _describe(rows: Sequence[tuple[str, tuple[int, ...]]], series: Sequence[Series], totals: Sequence[int]) -> str:
    if not any(totals):
        return "Nothing in this time."
    parts = [f"{sum(item.values)} {item.name}" for item in series]
    highest = max(range(len(totals)), key=lambda at: totals[at])
    return f"{', '.join(parts)} in all; most in {rows[highest][0]}: {totals[highest]}."


def _round(value: float) -> float:
    return round(value, 2)
