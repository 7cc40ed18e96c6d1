"""The command of an experiment: how often, on which images and by whom it is run, and the page that is made of it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import evidence
from benchmarks.runs import Measured, add_arguments, measure


def options(text: str | None, table: Path, seeds: int = 5) -> ArgumentParser:
    """What each of them is asked with: `--seeds`, `--jobs`, `--ray`, `--output`."""
    parser = ArgumentParser(description=text, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=seeds, help=f"runs of each row of the page (default {seeds})")
    add_arguments(parser)
    parser.add_argument("--output", type=Path, default=table, help=f"the table (default benchmarks/{table.name})")
    return parser


def add_data(parser: ArgumentParser, epochs: str) -> None:
    """Ask for CIFAR-10 in place of the digits, and how long to train; `epochs` says how long else."""
    parser.add_argument("--data", type=Path, help="the folder in which cifar-10-batches-py lies (default: the digits)")
    parser.add_argument("--epochs", type=int, help=f"of each training (default {epochs})")


def data(args: Namespace) -> tuple[str, str]:
    """The name of the images, and the folder where they lie."""
    return ("cifar10", str(args.data)) if args.data else ("digits", "")


def perform(
    args: Namespace, chosen: Sequence[NamedTuple], measured: Measured, columns: Sequence[str], table: Path
) -> None:
    """Measure what is not in the table yet; the page is made of the experiment's own table alone."""
    measure(chosen, measured, columns, args.output, args.jobs, args.ray)
    if args.output == table:
        evidence.write()
