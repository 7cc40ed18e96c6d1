"""MobileNetV2 with channel attention on its final map, beside MobileNetV2 alone.

    python -m benchmarks.final                        # the digits on board: what is not in the table yet, then the page
    python -m benchmarks.final --data /data/cifar     # CIFAR-10 as torchvision keeps it, and MobileNetV2 at its full width

Results go to benchmarks/final.csv, a row a run; a command that was killed goes on where it stopped. One thread a process.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from benchmarks import evidence
from benchmarks.final.measure import COLUMNS, measured, runs, task
from benchmarks.final.page import TABLE
from benchmarks.runs import add_arguments, measure


def main() -> None:
    args = _arguments()
    name, folder = ("cifar10", str(args.data)) if args.data else ("digits", "")
    chosen = runs(name, args.epochs or task(name, folder).epochs, args.seeds)
    measure(chosen, partial(measured, folder=folder), COLUMNS, args.output, args.jobs, args.ray)
    if args.output == TABLE:
        evidence.write()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder in which cifar-10-batches-py lies (default: the digits)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each arm (default 5)")
    parser.add_argument("--epochs", type=int, help="of each training (default 12 for digits, 30 for CIFAR-10)")
    add_arguments(parser)
    parser.add_argument("--output", type=Path, default=TABLE, help="the table (default benchmarks/final.csv)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
