"""Where does a network look, with attention and without: at the digit, or at the fragments around it?

    python -m benchmarks.looks

Results go to benchmarks/looks.csv, a row a run; a command that was killed goes on where it stopped. One thread a process.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks import evidence
from benchmarks.looks.measure import COLUMNS, Run, measured
from benchmarks.looks.page import ARMS, TABLE
from benchmarks.runs import add_arguments, measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="runs of each network (default 5)")
    add_arguments(parser)
    parser.add_argument("--output", type=Path, default=TABLE, help="the table (default benchmarks/looks.csv)")
    args = parser.parse_args()
    chosen = [Run(*arm, str(seed)) for seed in range(args.seeds) for arm in ARMS]
    measure(chosen, measured, COLUMNS, args.output, args.jobs, args.ray)
    if args.output == TABLE:
        evidence.write()


if __name__ == "__main__":
    main()
