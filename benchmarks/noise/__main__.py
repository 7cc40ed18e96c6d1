"""Does channel attention on the input tell real channels from noise, and what does that bring?

    python -m benchmarks.noise                        # the digits on board: what is not in the table yet, then the page
    python -m benchmarks.noise --data /data/cifar     # CIFAR-10 as torchvision keeps it, and MobileNetV2, as in the documents
    python -m benchmarks.noise --page                 # docs/evidence.md and its charts from the tables

Results go to benchmarks/noise.csv, a row a run; a command that was killed goes on where it stopped. One thread a process.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from benchmarks import evidence
from benchmarks.noise.measure import COLUMNS, measured, runs
from benchmarks.noise.page import TABLE
from benchmarks.noise.tasks import task
from benchmarks.runs import add_arguments, measure


def main() -> None:
    args = _arguments()
    if not args.page:
        name, folder = ("cifar10", str(args.data)) if args.data else ("digits", "")
        chosen = runs(name, args.epochs or task(name, folder).epochs, args.seeds)
        measure(chosen, partial(measured, folder=folder), COLUMNS, args.output, args.jobs, args.ray)
    if args.page or args.output == TABLE:
        evidence.write()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder in which cifar-10-batches-py lies (default: the digits)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each setting (default 5)")
    parser.add_argument("--epochs", type=int, help="of each training (default 8 for digits, 30 for CIFAR-10)")
    add_arguments(parser)
    parser.add_argument("--output", type=Path, default=TABLE, help="the table (default benchmarks/noise.csv)")
    parser.add_argument("--page", action="store_true", help="write docs/evidence.md from the tables, measure nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
