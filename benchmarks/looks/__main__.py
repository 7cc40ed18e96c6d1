"""Where does a network look, with attention and without: at the digit, or at the fragments around it?

    python -m benchmarks.looks

Results go to benchmarks/looks.csv, a row a run; a command that was killed goes on where it stopped. One thread a process.
"""

from __future__ import annotations

from benchmarks.experiment import options, perform
from benchmarks.looks.measure import COLUMNS, Run, measured
from benchmarks.looks.page import ARMS, TABLE


def main() -> None:
    args = options(__doc__, TABLE).parse_args()
    chosen = [Run(*arm, str(seed)) for seed in range(args.seeds) for arm in ARMS]
    perform(args, chosen, measured, COLUMNS, TABLE)


if __name__ == "__main__":
    main()
