"""The tables of BAM's and CBAM's papers on a small task: which of their choices matter, and by more than the spread?

    python -m benchmarks.ablations              # what is not in the table yet, then the page
    python -m benchmarks.ablations --seeds 8

Results go to benchmarks/ablations.csv, a row a run; a command that was killed goes on where it stopped. One thread a process.
"""

from __future__ import annotations

from benchmarks.ablations.measure import COLUMNS, measured, runs
from benchmarks.ablations.page import TABLE
from benchmarks.experiment import options, perform


def main() -> None:
    args = options(__doc__, TABLE).parse_args()
    perform(args, runs(args.seeds), measured, COLUMNS, TABLE)


if __name__ == "__main__":
    main()
