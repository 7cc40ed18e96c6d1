"""The first steps of fine-tuning, from the default start and from the published one: does the accuracy fall?

    python -m benchmarks.curves

Networks for the digits on board, one trained with each seed, get CBAM and learn on as a whole. Results go to
benchmarks/curves.csv, a row a run; a command that was killed goes on where it stopped. One thread a process.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import evidence
from benchmarks.curves.measure import COLUMNS, measured, runs
from benchmarks.curves.page import TABLE
from benchmarks.runs import add_arguments, measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=7, help="runs of each start (default 7)")
    add_arguments(parser)
    parser.add_argument("--output", type=Path, default=TABLE, help="the table (default benchmarks/curves.csv)")
    args = parser.parse_args()
    measure(runs(args.seeds), measured, COLUMNS, args.output, args.jobs, args.ray)
    if args.output == TABLE:
        evidence.write()


if __name__ == "__main__":
    main()
