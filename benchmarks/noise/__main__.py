"""Does channel attention on the input tell real channels from noise, and what does that bring?

    python -m benchmarks.noise                        # the digits on board: what is not in the table yet, then the page
    python -m benchmarks.noise --data /data/cifar     # CIFAR-10 as torchvision keeps it, and MobileNetV2, as in the documents
    python -m benchmarks.noise --page                 # docs/evidence.md and its charts from the tables

Results go to benchmarks/noise.csv, a row a run; a command that was killed goes on where it stopped. One thread a process.
"""

from __future__ import annotations

from functools import partial

from benchmarks import evidence
from benchmarks.experiment import add_data, data, options, perform
from benchmarks.noise.measure import COLUMNS, measured, runs
from benchmarks.noise.page import TABLE
from benchmarks.noise.tasks import task


def main() -> None:
    parser = options(__doc__, TABLE)
    add_data(parser, epochs="8 for digits, 30 for CIFAR-10")
    parser.add_argument("--page", action="store_true", help="write docs/evidence.md from the tables, measure nothing")
    args = parser.parse_args()
    if args.page:
        return evidence.write()
    name, folder = data(args)
    chosen = runs(name, args.epochs or task(name, folder).epochs, args.seeds)
    perform(args, chosen, partial(measured, folder=folder), COLUMNS, TABLE)


if __name__ == "__main__":
    main()
