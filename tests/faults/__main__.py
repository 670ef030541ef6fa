"""Run the whole campaign: `python -m tests.faults`; `--help` lists its options.

Ends with 1 when a card needs a person, a rotation was done twice or an update is lost, and when fewer than LEAST points
were run in the time allowed.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from tests.faults.campaign import Benches, plan_whole
from tests.faults.report import Report

SEED = 20261
LEAST = 2000  # distinct points
PROGRESS_EVERY = 500  # points


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=SEED, help="draws the samples of the further programs")
    parser.add_argument("--extra", type=int, default=80, help="points of a sample besides one of each fault")
    parser.add_argument("--minutes", type=float, default=28.0, help="what is not begun by then is left out, and said")
    parser.add_argument("--report", type=Path, default=Path("var/fault-report.json"))
    chosen = parser.parse_args()
    begun = time.monotonic()
    benches = Benches(chosen.processes)
    count = 0

    def progress(more: int) -> None:
        nonlocal count
        if count // PROGRESS_EVERY != (count + more) // PROGRESS_EVERY:
            print(f"{count + more} runs, {time.monotonic() - begun:.0f} s", flush=True)
        count += more

    try:
        shares = plan_whole(benches, chosen.seed, chosen.extra)
        print(f"{sum(len(share.points) for share in shares)} runs on {chosen.processes} processes", flush=True)
        done = benches.run(shares, progress, lambda: time.monotonic() - begun < 60 * chosen.minutes)
    finally:
        benches.close()
    report = Report(done, time.monotonic() - begun, chosen.seed)
    report.write_json(chosen.report)
    print("\n".join([*report.build_table(), "", *report.build_summary()]))
    return 1 if report.bad or len(report.counted) < LEAST else 0


if __name__ == "__main__":
    sys.exit(main())
