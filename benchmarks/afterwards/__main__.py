"""Each tool x attention x start, against the stock network.

    python -m benchmarks.afterwards                                # what is not in the table yet
    python -m benchmarks.afterwards --names "torch.export" "DDP, 2 processes"
    python -m benchmarks.afterwards --groups adapters --again      # measure these anew
    python -m benchmarks.afterwards --page                         # docs/afterwards.md from the table

Results go to benchmarks/afterwards.csv, a tool at a time; a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.afterwards import page
from benchmarks.afterwards.measure import measure
from benchmarks.afterwards.tools import TOOLS
from benchmarks.sweep import rows

TABLE = Path(__file__).parents[1] / "afterwards.csv"
PAGE = Path(__file__).parents[2] / "docs" / "afterwards.md"


def main() -> None:
    args = _arguments()
    if not args.page:
        measure(_chosen(args), args.output, again=args.again)
    if args.page or args.output == TABLE:
        PAGE.write_text(page.written(rows(args.output)), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", nargs="+", help="only these tools")
    parser.add_argument("--groups", nargs="+", help="only the tools of these groups")
    parser.add_argument("--again", action="store_true", help="measure anew what is in the table")
    parser.add_argument("--output", type=Path, default=TABLE, help="the table (default benchmarks/afterwards.csv)")
    parser.add_argument("--page", action="store_true", help="write docs/afterwards.md from the table, measure nothing")
    return parser.parse_args()


def _chosen(args: argparse.Namespace) -> list[str]:
    return [
        name
        for name, tool in TOOLS.items()
        if (not args.names or name in args.names) and (not args.groups or tool.group in args.groups)
    ]


if __name__ == "__main__":
    main()
