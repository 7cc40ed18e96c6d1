"""The tables of BAM's and CBAM's papers on a small task: which of their choices matter, and by more than the spread?

    python -m benchmarks.ablations              # what is not in the table yet, then the page
    python -m benchmarks.ablations --seeds 8

Results go to benchmarks/ablations.csv, a row a run; a command that was killed goes on where it stopped. One thread a process.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import evidence
from benchmarks.ablations.measure import COLUMNS, measured, runs
from benchmarks.ablations.page import TABLE
from benchmarks.runs import add_arguments, measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="runs of each variant (default 5)")
    add_arguments(parser)
    parser.add_argument("--output", type=Path, default=TABLE, help="the table (default benchmarks/ablations.csv)")
    args = parser.parse_args()
    measure(runs(args.seeds), measured, COLUMNS, args.output, args.jobs, args.ray)
    if args.output == TABLE:
        evidence.write()


if __name__ == "__main__":
    main()
