"""Networks of other libraries, and of nobody's: are the places right, and does everything hold there?

    python -m benchmarks.clients                       # every network of benchmarks/clients.yaml
    python -m benchmarks.clients --names ultralytics:yolov8n
    python -m benchmarks.clients --page                # docs/clients.md from the results

benchmarks/clients.yaml says what there is in each network, counted in its classes' source. Results go to
benchmarks/clients.csv, all rows of a network at once; a run that was killed goes on where it stopped.
"""

from pathlib import Path

from benchmarks import trials
from benchmarks.sweep import arguments, rows, sweep, write

TABLE = Path(__file__).with_name("clients.csv")
PAGE = Path(__file__).parents[1] / "docs" / "clients.md"


def main():
    parser = arguments(__doc__, TABLE, PAGE, jobs=1)
    parser.add_argument("--again", action="store_true", help="forget what was measured of --names")
    args = parser.parse_args()
    names = args.names or list(trials.listed()["networks"])
    if not args.page:
        if args.again:
            write(args.output, trials.COLUMNS, [row for row in rows(args.output) if row["network"] not in names])
        sweep(names, trials.measured, trials.COLUMNS, args.output, args.jobs, each=4)
    if args.output == TABLE:
        PAGE.write_text(written(rows(TABLE)), encoding="utf-8")


if __name__ == "__main__":
    main()
