import io

from rich.console import Console

from bench.rotations import Cost, Counts, Scaling
from bench.run import show_costs, show_counts, show_fetches, show_scaling, show_sweeps
from bench.sweeps import Swept


def test_the_tables_show_the_figures_and_say_what_misses_its_aim() -> None:
    console = Console(file=io.StringIO(), width=160)
    show_costs(console, [Cost("SCP02", 40.0, 4.0, 15.0), Cost("SCP03", 8.0, 5.0, 3.0)])
    show_counts(console, [Counts("SCP02", 93, 93, 57, 12, 4, 5, {}, {})])
    show_sweeps(console, {"sqlite": [Swept(1000, 100, 1.2, 1.0, 2**27, 2**20, (0.001, 0.002))]})
    show_fetches(console, {"sqlite": [Swept(1000, 100, 1.2, 1.0, 2**27, 2**20, (0.001, 0.002))]})
    show_scaling(console, Scaling(20.0, 18.0, (0.5, 0.5)))
    text = console.file.getvalue()  # type: ignore[attr-defined] # a StringIO
    for shown in ("10.00 (misses)", "1.60", "2.40", "93", "1.20", "2.0", "0.90 (misses)", "0.50 : 0.50"):
        assert shown in text
