"""Every network x every place x {cbam, bam}: what was found, and whether it holds to the bit.

    python -m benchmarks.coverage                        # one network of each timm file, all of torchvision's
    python -m benchmarks.coverage --all --jobs 2         # every name of both libraries
    python -m benchmarks.coverage --names timm:resnet18 torchvision:vgg11
    python -m benchmarks.coverage --page                 # docs/coverage.md from the results

Results go to benchmarks/coverage.csv, all rows of a network at once; a run that was killed goes on
where it stopped. Networks of more parameters than --limit are looked at (sites, rewriting, prices)
but not run: their `eval` and `train` cells say so.
"""

import argparse
import csv
import multiprocessing
import warnings
from pathlib import Path

from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from benchmarks import cells

TABLE = Path(__file__).with_name("coverage.csv")
PAGE = Path(__file__).parents[1] / "docs" / "coverage.md"


def main():
    args = _arguments()
    if args.page:
        from benchmarks import page

        PAGE.write_text(page.written(rows(args.output)), encoding="utf-8")
        return
    names = args.names or cells.names(everything=args.all)
    done = {row["network"] for row in rows(args.output)}
    left = [name for name in names if name not in done]
    print(f"{len(names)} networks, {len(names) - len(left)} of them done before.")
    _measure(left, args)


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every name of both libraries")
    parser.add_argument("--names", nargs="+", help="only these, as library:name")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--limit", type=float, default=150, help="million parameters up to which networks are run (default 150)")
    parser.add_argument("--output", type=Path, default=TABLE, help="the table (default benchmarks/coverage.csv)")
    parser.add_argument("--page", action="store_true", help="write docs/coverage.md from the table, measure nothing")
    return parser.parse_args()


def rows(path=TABLE):
    """The table as dicts; empty if there is none yet."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _measure(names, args):
    """All cells of `names`, a process for a few networks each, so that memory comes back."""
    new = not args.output.exists()
    pool = multiprocessing.get_context("spawn").Pool(args.jobs, maxtasksperchild=8)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with args.output.open("a", newline="", encoding="utf-8") as file, pool, Progress(*columns) as bar:
        writer = csv.DictWriter(file, cells.COLUMNS)
        if new:
            writer.writeheader()
        task = bar.add_task("coverage", total=len(names))
        for found in pool.imap_unordered(_quietly, [(name, args.limit * 1e6) for name in names]):
            writer.writerows(found)
            file.flush()
            bar.advance(task)


def _quietly(work):
    warnings.simplefilter("ignore")
    return cells.measured(*work)


if __name__ == "__main__":
    main()
