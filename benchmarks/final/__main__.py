"""MobileNetV2 with channel attention on its final map, beside MobileNetV2 alone.

    python -m benchmarks.final                        # the digits on board: what is not in the table yet, then the page
    python -m benchmarks.final --data /data/cifar     # CIFAR-10 as torchvision keeps it, and MobileNetV2 at its full width

Results go to benchmarks/final.csv, a row a run; a command that was killed goes on where it stopped. One thread a process.
"""

from __future__ import annotations

from functools import partial

from benchmarks.experiment import add_data, data, options, perform
from benchmarks.final.measure import COLUMNS, measured, runs, task
from benchmarks.final.page import TABLE


def main() -> None:
    parser = options(__doc__, TABLE)
    add_data(parser, epochs="12 for digits, 30 for CIFAR-10")
    args = parser.parse_args()
    name, folder = data(args)
    chosen = runs(name, args.epochs or task(name, folder).epochs, args.seeds)
    perform(args, chosen, partial(measured, folder=folder), COLUMNS, TABLE)


if __name__ == "__main__":
    main()
