"""Which start lets attention learn, and what attention then brings.

    python -m benchmarks.starts                   # what is not in the table yet, then the page and its chart
    python -m benchmarks.starts --tasks cued --jobs 2
    python -m benchmarks.starts --page            # docs/starts.md and its chart from the table

Results go to benchmarks/starts.csv, a row a run; a run that was killed goes on where it stopped. One thread a process.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.starts import page
from benchmarks.starts.grid import runs
from benchmarks.starts.sweep import measure
from benchmarks.starts.tasks import TASKS
from benchmarks.sweep import rows

TABLE = Path(__file__).parents[1] / "starts.csv"
DOCS = Path(__file__).parents[2] / "docs"


def main() -> None:
    args = _arguments()
    if not args.page:
        measure([run for run in runs() if run.task in args.tasks], args.output, args.jobs)
    if args.page or args.output == TABLE:
        page.write(rows(args.output), DOCS)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=[*TASKS], choices=TASKS, help="only these tasks")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--output", type=Path, default=TABLE, help="the table (default benchmarks/starts.csv)")
    parser.add_argument("--page", action="store_true", help="write docs/starts.md from the table, measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
