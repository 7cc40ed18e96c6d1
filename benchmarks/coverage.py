"""Every network x every place x {cbam, bam}: what was found, and whether it holds to the bit.

    python -m benchmarks.coverage                        # one network of each timm file, all of torchvision's
    python -m benchmarks.coverage --all --jobs 2         # every name of both libraries
    python -m benchmarks.coverage --names timm:resnet18 torchvision:vgg11
    python -m benchmarks.coverage --page                 # docs/coverage.md from the results

Results go to benchmarks/coverage.csv, all rows of a network at once; a run that was killed goes on
where it stopped. Networks of more parameters than --limit are operated on, at all places at once, but
not run; a later call with a larger --limit runs those.
"""

from functools import partial
from pathlib import Path

from benchmarks import cells
from benchmarks.sweep import arguments, rows, sweep, write

TABLE = Path(__file__).with_name("coverage.csv")
PAGE = Path(__file__).parents[1] / "docs" / "coverage.md"


def main():
    args = _arguments()
    if args.page:
        from benchmarks import page

        PAGE.write_text(page.written(rows(args.output)), encoding="utf-8")
        return
    names = args.names or cells.names(everything=args.all)
    _forget(args.output, names, args.limit * 1e6)
    sweep(names, partial(cells.measured, limit=args.limit * 1e6), cells.COLUMNS, args.output, args.jobs)


def _arguments():
    parser = arguments(__doc__, TABLE, PAGE)
    parser.add_argument("--all", action="store_true", help="every name of both libraries")
    parser.add_argument(
        "--limit", type=float, default=150, help="million parameters up to which networks are run (default 150)"
    )
    return parser.parse_args()


def _forget(path, names, limit):
    """Drop the rows of those of `names` that a smaller limit kept from being run."""
    found = rows(path)
    again = {row["network"] for row in found if row["reason"] == "not-run" and int(row["parameters"]) <= limit} & set(
        names
    )
    if again:
        write(path, cells.COLUMNS, [row for row in found if row["network"] not in again])


if __name__ == "__main__":
    main()
