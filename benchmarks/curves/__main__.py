"""The first steps of fine-tuning, from the default start and from the published one: does the accuracy fall?

    python -m benchmarks.curves

Networks for the digits on board, one trained with each seed, get CBAM and learn on as a whole. Results go to
benchmarks/curves.csv, a row a run; a command that was killed goes on where it stopped. One thread a process.
"""

from __future__ import annotations

from benchmarks.curves.measure import COLUMNS, measured, runs
from benchmarks.curves.page import TABLE
from benchmarks.experiment import options, perform


def main() -> None:
    args = options(__doc__, TABLE, seeds=7).parse_args()
    perform(args, runs(args.seeds), measured, COLUMNS, TABLE)


if __name__ == "__main__":
    main()
