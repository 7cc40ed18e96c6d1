"""Which start lets attention learn, and what attention then brings.

    python -m benchmarks.starts                   # what is not in the table yet, then the page and its chart
    python -m benchmarks.starts --tasks cued --jobs 2
    python -m benchmarks.starts --page            # docs/starts.md and its chart from the table

Results go to benchmarks/starts.csv, a row a run; a run that was killed goes on where it stopped. One thread a process.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.runs import add_arguments, measure
from benchmarks.starts import page
from benchmarks.starts.grid import runs
from benchmarks.starts.measure import COLUMNS, measured
from benchmarks.starts.tasks import TASKS
from benchmarks.sweep import rows

TABLE = Path(__file__).parents[1] / "starts.csv"
DOCS = Path(__file__).parents[2] / "docs"


def main() -> None:
    args = _arguments()
    if not args.page:
        chosen = [run for run in runs() if run.task in args.tasks]
        measure(chosen, measured, COLUMNS, args.output, args.jobs, args.ray)
    if args.page or args.output == TABLE:
        page.write(rows(args.output), DOCS)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=[*TASKS], choices=TASKS, help="only these tasks")
    add_arguments(parser)
    parser.add_argument("--output", type=Path, default=TABLE, help="the table (default benchmarks/starts.csv)")
    parser.add_argument("--page", action="store_true", help="write docs/starts.md from the table, measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
